package import Content
import FoundationEssentials
package import OCI
import SystemPackage
import Disk

/// Says that weightfs itself fetched an artifact, so that its tag is resolved anew.
package struct OriginRecord: Sendable, Codable, Equatable {
  package let reference: String
  /// What the reference stood for.
  package let digest: Digest
  package let mediaType: MediaType
  package let size: Int64
  /// What it stood for before: the index on disk may still say so after a crash between the two writes.
  package let previous: Digest?
  /// It was pulled, not only read: nil in records of earlier versions, which did not tell.
  package let isPulled: Bool?

  /// Makes a record.
  ///
  /// - Parameters:
  ///   - reference: what was resolved.
  ///   - descriptor: what it stands for.
  ///   - previous: what it stood for before.
  ///   - isPulled: it was pulled, not only read.
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

  /// The descriptor of the record.
  package var descriptor: Descriptor { Descriptor(mediaType: mediaType, digest: digest, size: size) }

  static func path(_ root: RegistryRoot, _ reference: Reference) -> FilePath {
    root.origins.appending("\(Verification.digest(of: Array("\(reference.stored)".utf8)).hex).json")
  }

  package static func exists(_ root: RegistryRoot, _ reference: Reference) -> Bool {
    Disk.exists(path(root, reference))
  }

  package static func read(_ root: RegistryRoot, _ reference: Reference) -> OriginRecord? {
    guard let bytes = try? Disk.contents(of: path(root, reference), limit: 65_536),
      let record = try? JSONDocument.decode(OriginRecord.self, from: bytes),
      record.reference == "\(reference.stored)"
    else { return nil }
    return record
  }

  /// Every record, in no order.
  package static func all(_ root: RegistryRoot) -> [OriginRecord] {
    ((try? Disk.names(in: root.origins)) ?? []).compactMap { name in
      guard let bytes = try? Disk.contents(of: root.origins.appending(name), limit: 65_536) else {
        return nil
      }
      return try? JSONDocument.decode(OriginRecord.self, from: bytes)
    }
  }

  package static func remove(_ root: RegistryRoot, _ reference: Reference) {
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
