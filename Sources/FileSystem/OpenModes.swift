package import Disk
import LocalRegistry

/// Determines how the open handles of one node are read: by the daemon, or by the kernel from a backing file.
///
/// A pure value. The kernel allows a node to be open in only one of the two ways at a time, and with only one
/// backing file (fs/fuse/iomode.c); otherwise the open fails.
package struct OpenModes: Sendable {
  /// The result of an open.
  package enum Action: Sendable, Equatable {
    /// The daemon reads.
    case serve
    /// The kernel reads, from the backing file of this number.
    case pass(Int32)
    /// The caller must register the backing file and then call `install`.
    case register
    /// The kernel must look the name up again and open another node.
    case stale
  }

  private struct Backing: Sendable {
    let number: Int32
    let identity: FileIdentity
    var count: Int
  }

  /// Number of handles that the daemon serves.
  package private(set) var servedCount = 0
  private var backing: Backing?
  /// Whether the kernel may have pages that the daemon filled.
  private var hasServedPages = false

  /// Creates the state of a node that is not open.
  package init() {}

  /// Whether the kernel reads a backing file for at least one handle.
  package var isPassing: Bool { backing != nil }

  /// Handles an open.
  ///
  /// - Parameter candidate: The file that the kernel could read, or nil.
  /// - Returns: The action; `serve` and `pass` are already counted.
  package mutating func open(_ candidate: FileIdentity?) -> Action {
    guard let candidate else {
      if backing != nil { return .stale }
      servedCount += 1
      return .serve
    }
    if let known = backing {
      // The blob is in another file now: open handles keep the old file, a new open needs a new node.
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

  /// Handles the result of a registration that an open requested.
  ///
  /// - Parameters:
  ///   - number: The number of the backing file; nil if the kernel refused it.
  ///   - identity: The identity of the file.
  /// - Returns: `serve` or `pass`; if the number differs from the one given, the caller must remove the given
  ///   one.
  package mutating func install(_ number: Int32?, _ identity: FileIdentity) -> Action {
    guard let number else {
      // A concurrent open may have registered the file in the meantime.
      return open(backing == nil ? nil : identity)
    }
    if backing != nil || servedCount > 0 { return open(identity) }
    backing = Backing(number: number, identity: identity, count: 1)
    return .pass(number)
  }

  /// Whether the node is not open and the kernel may have pages that the daemon filled; returns true once per
  /// occasion.
  package mutating func takeServedPages() -> Bool {
    guard servedCount == 0, backing == nil, hasServedPages else { return false }
    hasServedPages = false
    return true
  }

  /// Handles the close of a handle.
  ///
  /// - Parameter isPassing: Whether the handle was read by passthrough.
  /// - Returns: The number of a backing file without handles, which the caller must remove.
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
