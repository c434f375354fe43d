import BlobCache
import Content
import Disk
import Hashing
import LocalRegistry
import OCI
import SystemPackage

/// The file that receives the decompressed bytes of a layer, with its digest and its reserved space.
///
/// Without `commit` the file and the reservation go.
struct UnpackedOutput: ~Copyable {
  private let local: LocalRegistry
  private var file: TemporaryFile
  private var hash = HashStream(.sha256)
  /// The states of the hash at the chunk boundaries, concatenated.
  private var states: [UInt8] = []
  private var size: Int64 = 0
  private var reserved: Int64 = 0
  /// Bytes of the file that stay.
  private var kept: Int64 = 0

  // Bytes of disk space that are reserved at once.
  private static let reservation: Int64 = 64 << 20
  // Chunk states are recorded at this distance in bytes, as for every blob.
  private static let chunkSize: Int64 = 1 << 20

  /// Creates an empty file.
  ///
  /// - Throws: `ContentError`.
  init(_ local: LocalRegistry) throws(ContentError) {
    self.local = local
    do throws(Errno) {
      file = try TemporaryFile(in: local.root.temporary, permissions: [.ownerRead, .groupRead, .otherRead])
    } catch {
      throw ContentError(.disk, "\(local.root.temporary)", error)
    }
  }

  deinit { local.space.settle(promised: reserved, kept: kept) }

  /// Adds the next bytes.
  ///
  /// - Throws: `ContentError`, with `isDiskFull` set if there is not enough space.
  mutating func append(_ bytes: UnsafeRawBufferPointer) throws(ContentError) {
    while reserved < size + Int64(bytes.count) {
      try local.space.reserve(Self.reservation)
      reserved += Self.reservation
    }
    do throws(Errno) {
      try Disk.write(file.descriptor, bytes, at: size)
    } catch {
      throw ContentError(.disk, "\(local.root.temporary)", error)
    }
    var rest = bytes[...]
    while !rest.isEmpty {
      let piece = rest.prefix(Int(Self.chunkSize - size % Self.chunkSize))
      hash.update(UnsafeRawBufferPointer(rebasing: piece))
      rest = rest.dropFirst(piece.count)
      size += Int64(piece.count)
      if size.isMultiple(of: Self.chunkSize), let state = hash.state { states += state.bytes }
    }
  }

  /// Moves the file into the pool.
  ///
  /// - Returns: The digest of its bytes.
  /// - Throws: `ContentError`.
  mutating func commit() throws(ContentError) -> Digest {
    let digest = hash.finish()
    guard size > 0 else { return digest }
    try local.pool.keep(&file, digest)
    kept = size
    // The last entry is the digest in place of a state.
    let count = Int((size - 1) / Self.chunkSize)
    let entries = Array(states.prefix(count * HashState.byteCount)) + digest.bytes
    if let list = ChunkList(entries, blobSize: size, chunkSize: Self.chunkSize, kind: .states) {
      // Without the list, parts that are decompressed again are verified with the complete blob.
      try? ChunkListStore(root: local.root).write(list, of: digest)
    }
    return digest
  }
}
