import Archive
import ArtifactTree
import BlobCache
import Content
import Disk
package import LocalRegistry
import Locking
import OCI
import SystemPackage

/// Decompresses layers into blobs of their own, each once (decisions/0015).
///
/// The decompressed bytes are a blob under their own digest: they are cached, evicted, verified and served like
/// a fetched blob. A record says which layer they come from, so that they can be decompressed again.
package final class LayerUnpacker: Sendable {
  private let local: LocalRegistry
  private let limits: UnpackLimits
  private let executor = BlockingExecutor(label: "weightfs.unpack", threads: 2)
  /// Decompresses again what was evicted: not behind the layers that are decompressed for the first time, which
  /// wait for the network.
  private let delivery = BlockingExecutor(label: "weightfs.unpack.again", threads: 4)
  /// Work that is begun is finished, so that the next look-up finds the result.
  private let flights = SingleFlight<Digest, UnpackedRecord>(outlivesCallers: true)
  /// Layers that cannot be opened, so that the next look-up does not decompress them up to the fault again.
  private let refusals = Mutex<[Digest: (error: ContentError, until: ContinuousClock.Instant)]>([:])

  // Bytes. The distance of positions from which decompression can begin: their windows of 32 KiB are 0.2 % of
  // the decompressed bytes.
  static let spacing: Int64 = 16 << 20
  // Bytes that are decompressed, hashed and written at once.
  private static let pieceSize = 2 << 20
  private static let lockInterval: Duration = .milliseconds(50)
  private static let refusalMemory: Duration = .seconds(60)
  private static let refusalLimit = 1000

  /// Creates an unpacker.
  ///
  /// - Parameters:
  ///   - local: The local registry, which keeps the decompressed blobs.
  ///   - limits: The limits on decompressed layers.
  package init(local: LocalRegistry, limits: UnpackLimits) {
    self.local = local
    self.limits = limits
  }

  /// Decompresses a layer, unless that was done before.
  ///
  /// - Parameters:
  ///   - layer: The descriptor of the compressed layer.
  ///   - compression: Its format.
  ///   - bytes: Reads the layer.
  /// - Returns: The record of the decompressed blob.
  /// - Throws: `ContentError`; with an `ArchiveError` as its cause if the layer is damaged or too large.
  func unpacked(
    _ layer: Descriptor,
    _ compression: Compression,
    _ bytes: any WholeLayerReader
  ) async throws(ContentError) -> UnpackedRecord {
    if let record = await record(of: layer.digest) { return record }
    if let refusal = refusals.withLock({ $0[layer.digest] }), refusal.until > .now { throw refusal.error }
    let isOwn = Atomic(false)
    let work: SingleFlight<Digest, UnpackedRecord>.Work = { () async throws(ContentError) in
      isOwn.store(true, ordering: .relaxed)
      return try await self.unpackOrWait(layer, compression, bytes)
    }
    do throws(ContentError) {
      return try await flights.value(for: layer.digest, work)
    } catch {
      if error.underlying is ArchiveError { refuse(layer.digest, error) }
      // Another caller's repository may have failed, and this one's may not.
      guard !isOwn.load(ordering: .relaxed), !(error.underlying is ArchiveError), error.code != .cancelled
      else { throw error }
      return try await flights.value(for: layer.digest, isFresh: true, work)
    }
  }

  private func refuse(_ layer: Digest, _ error: ContentError) {
    refusals.withLock { refusals in
      if refusals.count >= Self.refusalLimit { refusals = [:] }
      refusals[layer] = (error, .now + Self.refusalMemory)
    }
  }

  private func unpackOrWait(
    _ layer: Descriptor,
    _ compression: Compression,
    _ bytes: any WholeLayerReader
  ) async throws(ContentError) -> UnpackedRecord {
    while true {
      let found = try await executor.run { () throws(ContentError) in
        try self.tryUnpacking(layer, compression, bytes)
      }
      if let found { return found }
      // Another process decompresses the layer; its lock is released when it ends, in any way.
      do { try await Task.sleep(for: Self.lockInterval) } catch {
        throw ContentError(.cancelled, "\(layer.digest)", "the request was cancelled")
      }
    }
  }

  /// Returns the record of a layer, or nil if it was not decompressed on this machine.
  func record(of layer: Digest) async -> UnpackedRecord? {
    let root = local.root
    return await local.executor.ask { UnpackedRecord.read(root, layer) }
  }

  /// Returns the content of a layer that was decompressed before, or nil.
  func content(of layer: Descriptor) async -> Descriptor? {
    await record(of: layer.digest)?.descriptor
  }

  /// Returns the source of a decompressed blob.
  ///
  /// - Parameters:
  ///   - layer: The descriptor of the compressed layer.
  ///   - compression: Its format.
  ///   - record: The record of the blob.
  ///   - origin: The place that the layer comes from, for messages.
  ///   - open: Opens the layer for one request.
  func source(
    of layer: Descriptor,
    _ compression: Compression,
    _ record: UnpackedRecord,
    origin: String,
    open: @escaping @Sendable () -> BlockingLayerBytes
  ) -> UnpackedSource {
    UnpackedSource(
      layer: layer,
      compression: compression,
      record: record,
      open: open,
      root: local.root,
      executor: delivery,
      origin: origin
    )
  }

  /// Forgets a layer, or the content of one, that turned out wrong.
  func forget(_ digest: Digest) async {
    let root = local.root
    flights.forget(digest)
    refusals.withLock { $0[digest] = nil }
    await local.executor.ask {
      UnpackedRecord.remove(root, digest)
      UnpackedRecord.remove(root, ofContent: digest)
    }
  }

  /// Decompresses a layer; returns nil if another process is doing that.
  private func tryUnpacking(
    _ layer: Descriptor,
    _ compression: Compression,
    _ bytes: any WholeLayerReader
  ) throws(ContentError) -> UnpackedRecord? {
    let root = local.root
    if let record = UnpackedRecord.read(root, layer.digest) { return record }
    let path = root.locks.appending("unpack-\(layer.digest.hex)")
    let lock: FileLock
    do throws(Errno) {
      guard let taken = try FileLock(trying: path) else { return nil }
      lock = taken
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
    defer { withExtendedLifetime(lock) {} }
    // The other process may have finished between the two looks.
    if let record = UnpackedRecord.read(root, layer.digest) { return record }
    return try unpack(layer, compression, bytes)
  }

  private func unpack(
    _ layer: Descriptor,
    _ compression: Compression,
    _ bytes: any WholeLayerReader
  ) throws(ContentError) -> UnpackedRecord {
    // Bytes are requested in parallel, ahead of those that are decompressed.
    bytes.startCompleting(layer)
    var output = try UnpackedOutput(local)
    let source = LayerSource(layer: layer, bytes: bytes)
    let hashed = HashedSource(source, layer.digest)
    let wrong: ContentError?
    do throws(ArchiveError) {
      let stream = try DecompressedStream(hashed, compression, spacing: Self.spacing)
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.pieceSize, alignment: 4096)
      defer { buffer.deallocate() }
      var count = buffer.count
      while count == buffer.count {
        count = try stream.read(into: buffer)
        if let excess = limits.excess(output: stream.output, input: stream.input) {
          throw ArchiveError(reason: excess)
        }
        try output.append(UnsafeRawBufferPointer(rebasing: buffer[..<count]), stream.takeCheckpoints())
      }
      // The bytes that were decompressed are those that were hashed, also if the blob was fetched again meanwhile.
      wrong = try hashed.finish()
    } catch {
      throw Self.failure(layer, error, source, output.failure)
    }
    if let wrong { throw wrong }
    return try output.commit(layer, compression)
  }

  /// The error of a layer: that of reading it, of the disk, or of its content.
  static func failure(
    _ layer: Descriptor,
    _ error: ArchiveError,
    _ source: LayerSource,
    _ other: ContentError? = nil
  ) -> ContentError {
    source.error ?? other
      ?? ContentError(
        .corrupt,
        "\(layer.digest)",
        "cannot decompress the layer: \(error)",
        underlying: error
      )
  }
}
