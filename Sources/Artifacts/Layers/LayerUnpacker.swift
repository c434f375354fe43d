import Archive
import BlobCache
import Content
import Disk
package import LocalRegistry
import OCI
import SystemPackage

/// Decompresses layers into blobs of their own, each once.
///
/// The decompressed bytes are a blob under their own digest: they are cached, evicted, verified and served like
/// a fetched blob. A record says which layer they come from, so that they can be decompressed again.
package final class LayerUnpacker: Sendable {
  /// The limits on decompressed layers.
  package struct Limits: Sendable, Equatable {
    /// The maximum size of a decompressed layer in bytes; nil for the space on the disk.
    package var size: Int64?

    /// Creates limits.
    ///
    /// - Parameter size: The maximum size of a decompressed layer in bytes.
    package init(size: Int64? = nil) { self.size = size }

    // No real data is compressed that much: model weights hardly at all, text about 10:1.
    private static let ratio: Int64 = 200
    private static let ratioFrom: Int64 = 1 << 30

    /// Returns why a layer must not be decompressed further, or nil.
    ///
    /// - Parameters:
    ///   - output: The number of decompressed bytes.
    ///   - input: The number of bytes that they were decompressed from.
    package func excess(output: Int64, input: Int64) -> String? {
      if let size, output > size {
        return "the layer decompresses to more than \(ByteSize.text(size)) (--max-unpacked)"
      }
      if output > Self.ratioFrom, output / Self.ratio > input {
        return "the layer decompresses to more than \(Self.ratio) times its size"
      }
      return nil
    }
  }

  private let local: LocalRegistry
  private let limits: Limits
  private let executor = BlockingExecutor(label: "weightfs.unpack", threads: 2)
  /// Work that is begun is finished, so that the next look-up finds the result.
  private let flights = SingleFlight<Digest, Descriptor>(outlivesCallers: true)

  // Bytes. The distance of positions from which decompression can begin: their windows of 32 KiB are 0.2 % of
  // the decompressed bytes.
  private static let spacing: Int64 = 16 << 20
  // Bytes that are decompressed, hashed and written at once.
  private static let pieceSize = 2 << 20
  // The time between two looks at the lock of another process.
  private static let lockInterval: Duration = .milliseconds(50)

  /// Creates an unpacker.
  ///
  /// - Parameters:
  ///   - local: The local registry, which keeps the decompressed blobs.
  ///   - limits: The limits on decompressed layers.
  package init(local: LocalRegistry, limits: Limits) {
    self.local = local
    self.limits = limits
  }

  /// Decompresses a layer, unless that was done before.
  ///
  /// - Parameters:
  ///   - layer: The descriptor of the compressed layer.
  ///   - compression: Its format.
  ///   - bytes: Reads the layer.
  /// - Returns: The descriptor of the decompressed blob.
  /// - Throws: `ContentError`; with an `ArchiveError` as its cause if the layer is damaged or too large.
  func unpacked(
    _ layer: Descriptor,
    _ compression: Compression,
    _ bytes: any WholeLayerBytes
  ) async throws(ContentError) -> Descriptor {
    try await flights.value(for: layer.digest) { () async throws(ContentError) in
      while true {
        let found = try await self.executor.run { () throws(ContentError) in
          try self.tryUnpacking(layer, compression, bytes)
        }
        if let found { return found }
        // Another process decompresses the layer; its lock is released when it ends, in any way.
        do { try await Task.sleep(for: Self.lockInterval) } catch {
          throw ContentError(.cancelled, "\(layer.digest)", "the request was cancelled")
        }
      }
    }
  }

  /// Returns the source of a decompressed blob.
  ///
  /// - Parameters:
  ///   - layer: The descriptor of the compressed layer.
  ///   - compression: Its format.
  ///   - origin: The place that the layer comes from, for messages.
  ///   - open: Opens the layer for one request.
  func source(
    of layer: Descriptor,
    _ compression: Compression,
    origin: String,
    open: @escaping @Sendable () -> BlockingLayerBytes
  ) async -> UnpackedSource {
    let root = local.root
    let record = await executor.ask { UnpackedRecord.read(root, layer.digest) }
    return UnpackedSource(
      layer: layer,
      compression: compression,
      open: open,
      files: UnpackedFiles(root: root, executor: executor),
      origin: origin,
      // A stream without such positions is decompressed once from its start, not once per range.
      servesRanges: record.map { !$0.positions.isEmpty || $0.size <= Self.spacing } ?? false
    )
  }

  /// Forgets a layer that turned out wrong.
  func forget(_ layer: Digest) async {
    let root = local.root
    flights.forget(layer)
    await executor.ask { UnpackedRecord.remove(root, layer) }
  }

  private static func descriptor(_ record: UnpackedRecord) -> Descriptor {
    Descriptor(
      mediaType: MediaType(rawValue: "application/octet-stream"),
      digest: record.digest,
      size: record.size
    )
  }

  /// Decompresses a layer; returns nil if another process is doing that.
  private func tryUnpacking(
    _ layer: Descriptor,
    _ compression: Compression,
    _ bytes: any WholeLayerBytes
  ) throws(ContentError) -> Descriptor? {
    let root = local.root
    if let record = UnpackedRecord.read(root, layer.digest) { return Self.descriptor(record) }
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
    if let record = UnpackedRecord.read(root, layer.digest) { return Self.descriptor(record) }
    return Self.descriptor(try unpack(layer, compression, bytes))
  }

  private func unpack(
    _ layer: Descriptor,
    _ compression: Compression,
    _ bytes: any WholeLayerBytes
  ) throws(ContentError) -> UnpackedRecord {
    var output = try UnpackedOutput(local)
    let source = LayerSource(layer: layer, bytes: bytes)
    let stream: DecompressedStream
    do throws(ArchiveError) {
      stream = try DecompressedStream(source, compression, spacing: Self.spacing)
    } catch {
      throw Self.failure(layer, error, source)
    }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.pieceSize, alignment: 4096)
    defer { buffer.deallocate() }
    var count = buffer.count
    while count == buffer.count {
      do throws(ArchiveError) {
        count = try stream.read(into: buffer)
        if let excess = limits.excess(output: stream.output, input: stream.input) {
          throw ArchiveError(reason: excess)
        }
      } catch {
        throw Self.failure(layer, error, source)
      }
      try output.append(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
    // Bytes that were decompressed before the layer was verified prove nothing.
    try bytes.complete(layer)
    return try record(layer, try output.commit(), stream)
  }

  private func record(
    _ layer: Descriptor,
    _ digest: Digest,
    _ stream: DecompressedStream
  ) throws(ContentError) -> UnpackedRecord {
    var windows: [UInt8] = []
    let positions = stream.checkpoints.map { checkpoint in
      let start = Int64(windows.count)
      windows += checkpoint.window
      return UnpackedRecord.Position(
        input: checkpoint.input,
        output: checkpoint.output,
        bits: checkpoint.bits,
        byte: checkpoint.byte,
        window: start,
        windowSize: checkpoint.window.count
      )
    }
    let record = UnpackedRecord(
      layer: layer.digest,
      digest: digest,
      size: stream.output,
      positions: positions
    )
    try record.write(local.root, windows: windows)
    return record
  }

  /// The error of a layer: that of reading it, or that of its content.
  static func failure(_ layer: Descriptor, _ error: ArchiveError, _ source: LayerSource) -> ContentError {
    source.error
      ?? ContentError(
        .corrupt,
        "\(layer.digest)",
        "cannot decompress the layer: \(error)",
        underlying: error
      )
  }
}
