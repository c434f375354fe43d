/// The decompressed bytes of a source, in order, from its start or from a checkpoint.
///
/// Used by one thread at a time.
package final class DecompressedStream {
  private let source: any ByteSource
  private let decoder: any Decoder
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: inputSize, alignment: 4096)
  /// The bytes of the buffer that are not decompressed yet.
  private var pending = 0..<0
  private var last: UInt8 = 0
  private var isAtEnd = false

  /// The offset of the next compressed byte.
  package private(set) var input: Int64
  /// The offset of the next decompressed byte.
  package private(set) var output: Int64
  private var checkpoints: [Checkpoint] = []
  private var lastCheckpoint: Int64 = 0
  private let spacing: Int64?

  // Bytes that are read from the source at once.
  private static let inputSize = 256 << 10

  /// Creates a stream.
  ///
  /// - Parameters:
  ///   - source: The compressed bytes.
  ///   - compression: Their format.
  ///   - checkpoint: Where to begin; nil for the start.
  ///   - spacing: The distance in bytes of the checkpoints to record; nil for none.
  /// - Throws: `ArchiveError` if there is no memory, or the checkpoint cannot be used.
  package init(
    _ source: any ByteSource,
    _ compression: Compression,
    from checkpoint: Checkpoint? = nil,
    spacing: Int64? = nil
  ) throws(ArchiveError) {
    self.source = source
    self.spacing = spacing
    input = checkpoint?.input ?? 0
    output = checkpoint?.output ?? 0
    decoder = try compression.makeDecoder(from: checkpoint)
  }

  deinit { buffer.deallocate() }

  /// Returns the checkpoints that were passed since the last call, at least `spacing` decompressed bytes apart.
  package func takeCheckpoints() -> [Checkpoint] {
    defer { checkpoints = [] }
    return checkpoints
  }

  /// Reads the next decompressed bytes.
  ///
  /// - Parameter target: Filled from its start.
  /// - Returns: The number of bytes; fewer than the buffer has only at the end.
  /// - Throws: `ArchiveError` if the stream is damaged or ends too early.
  package func read(into target: UnsafeMutableRawBufferPointer) throws(ArchiveError) -> Int {
    var filled = 0
    while filled < target.count, !isAtEnd {
      let rest = UnsafeMutableRawBufferPointer(rebasing: target[filled...])
      filled += try step(rest)
    }
    return filled
  }

  private func step(_ target: UnsafeMutableRawBufferPointer) throws(ArchiveError) -> Int {
    let given = UnsafeRawBufferPointer(rebasing: buffer[pending])
    let (used, written) = try decoder.step(given, into: target)
    if used > 0 { last = given[used - 1] }
    pending = pending.lowerBound + used..<pending.upperBound
    input += Int64(used)
    output += Int64(written)
    if let spacing, output - lastCheckpoint >= spacing,
      let checkpoint = decoder.checkpoint(input: input, output: output, last: last)
    {
      checkpoints.append(checkpoint)
      lastCheckpoint = output
    }
    if decoder.hasEnded { isAtEnd = true }
    if used == 0, written == 0, !isAtEnd { try refill() }
    return written
  }

  private func refill() throws(ArchiveError) {
    // The bytes that are left are too few for the decoder.
    let left = pending.count
    if left > 0 { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[pending])) }
    let space = UnsafeMutableRawBufferPointer(rebasing: buffer[left...])
    let count = space.isEmpty ? 0 : try source.read(into: space, at: input + Int64(left))
    pending = 0..<left + count
    guard count == 0 else { return }
    guard decoder.mayEnd else {
      throw ArchiveError(reason: "the compressed stream ends after \(input) bytes, before its own end")
    }
    isAtEnd = true
  }
}
