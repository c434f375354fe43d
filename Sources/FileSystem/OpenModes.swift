package import Disk
import LocalRegistry

/// How the open handles of one node are read: by the daemon, or by the kernel from a backing file.
///
/// Pure. The kernel lets a node be open in one of the two ways at a time, and with one backing file
/// (fs/fuse/iomode.c); a second way is a failed open.
package struct OpenModes: Sendable {
  /// What an open comes to.
  package enum Action: Sendable, Equatable {
    /// The daemon reads.
    case serve
    /// The kernel reads, from the backing file of this number.
    case pass(Int32)
    /// The backing file is to be registered; then `install`.
    case register
    /// Another node must be opened in its place.
    case stale
  }

  private struct Backing: Sendable {
    let number: Int32
    let identity: FileIdentity
    var count: Int
  }

  /// Handles that the daemon serves.
  package private(set) var servedCount = 0
  private var backing: Backing?
  /// The kernel may have pages that the daemon filled.
  private var hasServedPages = false

  /// A node that is not open.
  package init() {}

  /// Whether the kernel reads a backing file for some handle.
  package var isPassing: Bool { backing != nil }

  /// Takes an open.
  ///
  /// - Parameter candidate: the file that the kernel could read; nil where there is none.
  /// - Returns: what to do; `serve` and `pass` are counted already.
  package mutating func open(_ candidate: FileIdentity?) -> Action {
    guard let candidate else {
      if backing != nil { return .stale }
      servedCount += 1
      return .serve
    }
    if let known = backing {
      // Another file has the blob now: who reads the old one goes on, a new open reads the new one.
      guard known.identity == candidate else { return .stale }
      backing?.count += 1
      return .pass(known.number)
    }
    guard servedCount == 0 else {
      servedCount += 1
      return .serve
    }
    return .register
  }

  /// Takes a registration that an open asked for.
  ///
  /// - Parameters:
  ///   - number: of the backing file; nil where the kernel refused it.
  ///   - identity: of the file.
  /// - Returns: `serve` or `pass`; a number that is not the one given has to be taken back.
  package mutating func install(_ number: Int32?, _ identity: FileIdentity) -> Action {
    guard let number else {
      // Somebody may have been luckier in between.
      return open(backing == nil ? nil : identity)
    }
    if backing != nil || servedCount > 0 { return open(identity) }
    backing = Backing(number: number, identity: identity, count: 1)
    return .pass(number)
  }

  /// Whether the kernel may have pages that the daemon filled, and nobody has the node open; once for each time.
  package mutating func takeServedPages() -> Bool {
    guard servedCount == 0, backing == nil, hasServedPages else { return false }
    hasServedPages = false
    return true
  }

  /// Takes the end of a handle.
  ///
  /// - Parameter isPassing: how it was open.
  /// - Returns: the number of a backing file that nobody reads any more.
  package mutating func close(isPassing: Bool) -> Int32? {
    guard isPassing else {
      servedCount -= 1
      hasServedPages = true
      return nil
    }
    backing?.count -= 1
    guard let known = backing, known.count == 0 else { return nil }
    backing = nil
    return known.number
  }
}
