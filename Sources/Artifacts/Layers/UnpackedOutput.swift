import Archive
import BlobCache
import Content
import Disk
import Hashing
import LocalRegistry
import OCI
import SystemPackage

/// The file that receives the decompressed bytes of a layer, with its digest, its space, and the positions from
/// which parts of it can be decompressed again.
///
/// Without `commit` the files and the space go.
struct UnpackedOutput: ~Copyable {
  private let local: LocalRegistry
  private var file: TemporaryFile
  private var windows: TemporaryFile
  private var windowsSize: Int64 = 0
  private var positions: [UnpackedRecord.Position] = []
  private var hash = HashStream(.sha256)
  /// The states of the hash at the chunk boundaries, concatenated.
  private var states: [UInt8] = []
  private var size: Int64 = 0
  /// Bytes of space that were reserved and not written.
  private var reserved: Int64 = 0
  private var isCommitted = false
  /// Why bytes could not be added; nil if they could.
  private(set) var failure: ContentError?

  // Bytes of disk space that are reserved at once.
  private static let reservation: Int64 = 64 << 20
  // Chunk states are recorded at this distance in bytes, as for every blob.
  private static let chunkSize: Int64 = 1 << 20

  /// Creates an empty file.
  ///
  /// - Throws: `ContentError`.
  init(_ local: LocalRegistry) throws(ContentError) {
    let content = try Self.file(local.root, [.ownerRead, .groupRead, .otherRead])
    let index = try Self.file(local.root, [.ownerReadWrite, .groupRead, .otherRead])
    self.local = local
    file = content
    windows = index
  }

  private static func file(
    _ root: RegistryRoot,
    _ permissions: FilePermissions
  ) throws(ContentError) -> TemporaryFile {
    do throws(Errno) {
      return try TemporaryFile(in: root.temporary, permissions: permissions)
    } catch {
      throw ContentError(.disk, "\(root.temporary)", error)
    }
  }

  deinit {
    local.space.settle(promised: reserved, kept: 0)
    if !isCommitted { local.space.noteRemoved(size) }
  }

  /// Adds the next bytes, and the checkpoints within them.
  ///
  /// - Throws: `ArchiveError`, with `failure` set, if the disk is full or fails.
  mutating func append(_ bytes: UnsafeRawBufferPointer, _ checkpoints: [Checkpoint]) throws(ArchiveError) {
    do throws(ContentError) {
      try write(bytes)
      for checkpoint in checkpoints { try add(checkpoint) }
    } catch {
      failure = error
      throw ArchiveError(reason: "\(error)")
    }
  }

  private mutating func write(_ bytes: UnsafeRawBufferPointer) throws(ContentError) {
    let count = Int64(bytes.count)
    if reserved < count {
      try local.space.reserve(Self.reservation)
      reserved += Self.reservation
    }
    do throws(Errno) {
      try Disk.write(file.descriptor, bytes, at: size)
    } catch {
      throw ContentError(.disk, "\(local.root.temporary)", error)
    }
    // Written bytes are not reserved any more: the free space of the disk has gone down by them.
    local.space.settle(promised: count, kept: count)
    reserved -= count
    var rest = bytes[...]
    while !rest.isEmpty {
      let piece = rest.prefix(Int(Self.chunkSize - size % Self.chunkSize))
      hash.update(UnsafeRawBufferPointer(rebasing: piece))
      rest = rest.dropFirst(piece.count)
      size += Int64(piece.count)
      if size.isMultiple(of: Self.chunkSize), let state = hash.state { states += state.bytes }
    }
  }

  private mutating func add(_ checkpoint: Checkpoint) throws(ContentError) {
    positions.append(
      UnpackedRecord.Position(
        input: checkpoint.input,
        output: checkpoint.output,
        bits: checkpoint.bits,
        byte: checkpoint.byte,
        window: windowsSize,
        bytes: checkpoint.window
      )
    )
    let (file, start) = (windows.descriptor, windowsSize)
    var failure: Errno?
    checkpoint.window.withUnsafeBytes { bytes in
      do throws(Errno) { try Disk.write(file, bytes, at: start) } catch { failure = error }
    }
    if let failure { throw ContentError(.disk, "\(local.root.temporary)", failure) }
    windowsSize += Int64(checkpoint.window.count)
  }

  /// Moves the file into the pool, and records where it comes from.
  ///
  /// - Throws: `ContentError`.
  mutating func commit(
    _ layer: Descriptor,
    _ compression: Compression
  ) throws(ContentError) -> UnpackedRecord {
    let digest = hash.finish()
    if size > 0 {
      try local.pool.keep(&file, digest)
      isCommitted = true
      // The last entry is the digest in place of a state.
      let count = Int((size - 1) / Self.chunkSize)
      let entries = Array(states.prefix(count * HashState.byteCount)) + digest.bytes
      if let list = ChunkList(entries, blobSize: size, chunkSize: Self.chunkSize, kind: .states) {
        // Without the list, parts that are decompressed again are verified with the complete blob.
        try? ChunkListStore(root: local.root).write(list, of: digest)
      }
    }
    let record = UnpackedRecord(
      layer: layer.digest,
      compression: compression.rawValue,
      digest: digest,
      size: size,
      positions: positions
    )
    try record.write(local.root, windows: &windows)
    return record
  }
}
