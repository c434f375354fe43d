import Archive
import ArtifactTree
import BlobCache
import Content
import OCI

/// The source of a decompressed blob: the compressed layer that it comes from.
struct UnpackedSource: Repository {
  let layer: Descriptor
  let compression: Compression
  let record: UnpackedRecord
  /// Opens the layer for one request, so that it can be evicted between requests.
  let open: @Sendable () -> BlockingLayerBytes
  let root: RegistryRoot
  let executor: BlockingExecutor
  let origin: String

  /// Whether parts can be decompressed by themselves; else all is decompressed once from the start, not once per
  /// range.
  var servesRanges: Bool { !record.positions.isEmpty || record.size <= LayerUnpacker.spacing }
  var link: String { "decompression" }

  func resolve(_ target: Reference.Target) async throws(ContentError) -> Descriptor {
    throw ContentError(.notFound, "\(target)", "a decompressed layer has no tags")
  }

  func tags(limit: Int) async throws(ContentError) -> [String] { [] }

  func fetch(
    _ descriptor: Descriptor,
    range: Range<Int64>,
    into sink: any BlobSink
  ) async throws(ContentError) {
    // Without ranges all bytes are delivered, as every request decompresses from the start.
    let wanted = servesRanges ? range : 0..<descriptor.size
    try await executor.run { () throws(ContentError) in try self.deliver(wanted, to: sink) }
  }

  private func deliver(_ range: Range<Int64>, to sink: any BlobSink) throws(ContentError) {
    let source = LayerSource(layer: layer, bytes: open())
    do throws(ArchiveError) {
      let start = servesRanges ? checkpoint(before: range.lowerBound) : nil
      let stream = try DecompressedStream(source, compression, from: start)
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
      defer { buffer.deallocate() }
      while stream.output < range.upperBound {
        let offset = stream.output
        let count = try stream.read(into: buffer)
        guard count > 0 else {
          throw ArchiveError(reason: "the layer decompresses to \(offset) bytes, fewer than before")
        }
        let wanted = range.clamped(to: offset..<offset + Int64(count))
        guard !wanted.isEmpty else { continue }
        let piece = buffer[Int(wanted.lowerBound - offset)..<Int(wanted.upperBound - offset)]
        guard sink.receive(UnsafeRawBufferPointer(rebasing: piece), at: wanted.lowerBound) else { return }
      }
    } catch {
      throw LayerUnpacker.failure(layer, error, source)
    }
  }

  /// Returns the last recorded position at or before an offset of the decompressed bytes; nil for the start.
  private func checkpoint(before offset: Int64) -> Checkpoint? {
    guard
      let position = record.positions.last(where: { $0.output <= offset }), position.input <= layer.size,
      let window = record.window(of: position, root)
    else { return nil }
    return Checkpoint(
      input: position.input,
      output: position.output,
      bits: position.bits,
      byte: position.byte,
      window: window
    )
  }
}
