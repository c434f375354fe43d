package import Content
import Glibc
package import OCI
import SystemPackage
import Disk

/// The pinned references: their blobs are not evicted.
package struct Pins: Sendable {
  private struct Record: Codable {
    let reference: String
    /// Seconds since 1970.
    let since: Int64
  }

  private let root: RegistryRoot

  /// Creates the pins of a root.
  package init(root: RegistryRoot) { self.root = root }

  private func path(_ reference: Reference) -> FilePath {
    root.pins.appending("\(Verification.digest(of: Array("\(reference.stored)".utf8)).hex).json")
  }

  /// Whether a reference is pinned.
  package func contains(_ reference: Reference) -> Bool { Disk.exists(path(reference)) }

  /// Pins a reference.
  ///
  /// - Throws: `ContentError`.
  package func add(_ reference: Reference) throws(ContentError) {
    let bytes: [UInt8]
    do {
      bytes = try JSONDocument.encode(Record(reference: "\(reference.stored)", since: Int64(time(nil))))
    } catch {
      throw ContentError(.invalid, "\(reference)", "the pin cannot be written")
    }
    try root.replace(path(reference), with: bytes)
  }

  /// Removes a pin.
  ///
  /// - Returns: Whether the reference was pinned.
  /// - Throws: `ContentError`.
  @discardableResult
  package func remove(_ reference: Reference) throws(ContentError) -> Bool {
    let path = path(reference)
    guard Disk.exists(path) else { return false }
    do throws(Errno) {
      try Disk.remove(path)
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
    return true
  }

  /// Returns all pinned references, sorted.
  ///
  /// - Throws: `ContentError`.
  package func all() throws(ContentError) -> [Reference] {
    let names: [String]
    do throws(Errno) {
      names = try Disk.names(in: root.pins)
    } catch {
      throw ContentError(.disk, "\(root.pins)", error)
    }
    var found: [Reference] = []
    for name in names {
      guard let bytes = try Disk.contents(of: root.pins.appending(name), limit: 65_536),
        let record = try? JSONDocument.decode(Record.self, from: bytes),
        let reference = try? Reference(parsing: record.reference)
      else { continue }
      found.append(reference)
    }
    return found.sorted { "\($0)" < "\($1)" }
  }
}
