package import Content
package import OCI
import SystemPackage
import Disk

/// The chunk lists on disk (docs/local-registry.md, "Chunk lists"): those that weightfs created while it
/// verified a blob, and those that a manifest names.
///
/// Lists are kept when their blob is evicted.
///
///     0   8  "WFSCHNK1": digests; "WFSCHNK2": states
///     8   8  bytes of the blob, little endian
///     16  8  bytes of a chunk
///     24  32 the SHA-256 of what follows
///     56  32 per chunk: its entry
package struct ChunkListStore: Sendable {
  private static let magics: [(kind: ChunkList.Kind, bytes: [UInt8])] = [
    (.digests, Array("WFSCHNK1".utf8)), (.states, Array("WFSCHNK2".utf8)),
  ]
  private static let headerSize = 56
  private let root: RegistryRoot

  /// Creates the chunk list store of a root.
  package init(root: RegistryRoot) { self.root = root }

  /// Reads a list, or returns nil if no usable one exists.
  ///
  /// - Parameters:
  ///   - blob: The descriptor of the blob.
  ///   - list: The digest of a list that a manifest names; nil for weightfs' own list.
  package func read(_ blob: Descriptor, list: Digest? = nil) -> ChunkList? {
    let most = Self.headerSize + Int(ChunkList.size(blobSize: blob.size, chunkSize: BlockMap.blockSize))
    guard let bytes = try? Disk.contents(of: path(blob.digest, list), limit: most),
      bytes.count >= Self.headerSize,
      let kind = Self.magics.first(where: { bytes.starts(with: $0.bytes) })?.kind,
      Self.number(bytes[8..<16]) == blob.size
    else { return nil }
    let content = Array(bytes[Self.headerSize...])
    guard Verification.digest(of: content).bytes == Array(bytes[24..<56]) else { return nil }
    if let list, Verification.digest(of: content, list.algorithm) != list { return nil }
    let found = ChunkList(content, blobSize: blob.size, chunkSize: Self.number(bytes[16..<24]), kind: kind)
    // The last state is the digest of the blob, so a list of another blob is rejected.
    return kind == .digests || found?.isProof(of: blob.digest) ?? false ? found : nil
  }

  /// Writes a list.
  ///
  /// - Parameters:
  ///   - chunks: The list.
  ///   - blob: The digest of the blob.
  ///   - list: The digest of a list that a manifest names; nil for weightfs' own list.
  /// - Throws: `ContentError`.
  package func write(_ chunks: ChunkList, of blob: Digest, list: Digest? = nil) throws(ContentError) {
    func littleEndian(_ value: Int64) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
    let header =
      (Self.magics.first { $0.kind == chunks.kind }?.bytes ?? []) + littleEndian(chunks.blobSize)
      + littleEndian(chunks.chunkSize)
      + Verification.digest(of: chunks.bytes).bytes
    try root.replace(
      path(blob, list),
      with: header + chunks.bytes,
      permissions: [.ownerReadWrite, .groupRead, .otherRead]
    )
  }

  /// Removes weightfs' own list of a blob, after the blob or the list turned out wrong.
  package func remove(_ blob: Digest) { try? Disk.remove(path(blob, nil)) }

  private func path(_ blob: Digest, _ list: Digest?) -> FilePath {
    let name = "\(blob.algorithm)-\(blob.hex)"
    return root.chunks.appending(list.map { "\(name)-\($0.algorithm)-\($0.hex)" } ?? name)
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> Int64 {
    bytes.reversed().reduce(0) { $0 << 8 | Int64($1) }
  }
}
