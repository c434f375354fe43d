/// Decompresses a stream piece by piece.
///
/// Used by one thread at a time.
protocol Decoder: AnyObject {
  /// Decompresses until the input is used up, the output is full, or a position is reached from which the
  /// stream can be decompressed again.
  ///
  /// - Parameters:
  ///   - input: The next compressed bytes.
  ///   - output: Filled from its start.
  /// - Returns: The number of bytes used and written. Both are 0 if more input is needed.
  /// - Throws: `ArchiveError` if the stream is damaged.
  func step(
    _ input: UnsafeRawBufferPointer,
    into output: UnsafeMutableRawBufferPointer
  ) throws(ArchiveError) -> (used: Int, written: Int)

  /// Whether the stream may end here.
  var mayEnd: Bool { get }
  /// Whether the stream ends here: the bytes that follow are not part of it.
  var hasEnded: Bool { get }

  /// Returns the state at the current position, or nil if the stream cannot be decompressed from here.
  ///
  /// - Parameters:
  ///   - input: The offset of the next compressed byte.
  ///   - output: The offset of the next decompressed byte.
  ///   - last: The compressed byte before `input`.
  func checkpoint(input: Int64, output: Int64, last: UInt8) -> Checkpoint?
}

extension Compression {
  /// Creates a decoder of the format.
  ///
  /// - Parameter checkpoint: The position to start from; nil for the start of the stream.
  /// - Throws: `ArchiveError` if there is no memory, or the checkpoint cannot be used.
  func makeDecoder(from checkpoint: Checkpoint? = nil) throws(ArchiveError) -> any Decoder {
    switch self {
    case .gzip: try GzipDecoder(from: checkpoint)
    case .zstd: try ZstdDecoder(isContinued: checkpoint != nil)
    }
  }
}
