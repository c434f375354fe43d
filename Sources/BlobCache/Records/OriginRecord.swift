package import Content
import FoundationEssentials
package import OCI
import SystemPackage
import Disk

/// Records that weightfs itself fetched an artifact, so that its tag is resolved again.
package struct OriginRecord: Sendable, Codable, Equatable {
  package let reference: String
  /// The digest that the reference resolved to.
  package let digest: Digest
  package let mediaType: MediaType
  package let size: Int64
  /// The digest that it resolved to before: after a crash between the two writes, the index on disk may still
  /// have it.
  package let previous: Digest?
  /// Whether the artifact was pulled rather than only read; nil in records of earlier versions.
  package let isPulled: Bool?

  /// Creates a record.
  ///
  /// - Parameters:
  ///   - reference: The resolved reference.
  ///   - descriptor: The descriptor that it resolved to.
  ///   - previous: The digest that it resolved to before.
  ///   - isPulled: Whether the artifact was pulled rather than only read.
  package init(
    reference: Reference,
    descriptor: Descriptor,
    previous: Digest?,
    isPulled: Bool
  ) {
    self.isPulled = isPulled
    self.previous = previous
    self.reference = "\(reference.stored)"
    digest = descriptor.digest
    mediaType = descriptor.mediaType
    size = descriptor.size
  }

  /// The descriptor of the artifact.
  package var descriptor: Descriptor { Descriptor(mediaType: mediaType, digest: digest, size: size) }

  static func path(_ root: RegistryRoot, _ reference: Reference) -> FilePath {
    root.origins.appending("\(Verification.digest(of: Array("\(reference.stored)".utf8)).hex).json")
  }

  package static func exists(_ root: RegistryRoot, _ reference: Reference) -> Bool {
    Disk.exists(path(root, reference))
  }

  package static func read(_ root: RegistryRoot, _ reference: Reference) -> OriginRecord? {
    // A record that cannot be read counts as absent: the artifact is then one that the user put there.
    guard let bytes = try? Disk.contents(of: path(root, reference), limit: 65_536),
      let record = try? JSONDocument.decode(OriginRecord.self, from: bytes),
      record.reference == "\(reference.stored)"
    else { return nil }
    return record
  }

  /// Returns all records; the order is undefined.
  package static func all(_ root: RegistryRoot) -> [OriginRecord] {
    ((try? Disk.names(in: root.origins)) ?? []).compactMap { name in
      guard let bytes = try? Disk.contents(of: root.origins.appending(name), limit: 65_536) else {
        return nil
      }
      // A record of another version counts as absent.
      return try? JSONDocument.decode(OriginRecord.self, from: bytes)
    }
  }

  package static func remove(_ root: RegistryRoot, _ reference: Reference) {
    // A record that stays is removed by the next `gc`.
    try? Disk.remove(path(root, reference))
  }

  package func write(_ root: RegistryRoot, _ reference: Reference) throws(ContentError) {
    let bytes: [UInt8]
    do {
      bytes = try JSONDocument.encode(self)
    } catch {
      throw ContentError(.invalid, self.reference, "the origin record cannot be written")
    }
    try root.replace(
      Self.path(root, reference),
      with: bytes,
      permissions: [.ownerReadWrite, .groupRead, .otherRead]
    )
  }
}
