import CZstd

/// Decompresses zstd, frame by frame; frames to be skipped are part of the stream.
final class ZstdDecoder: Decoder {
  private let stream: OpaquePointer
  private(set) var mayEnd: Bool
  var hasEnded: Bool { false }

  // Bytes as a power of two. A window is memory: 32 MiB cover all levels up to 20 of zstd(1).
  private static let windowLog: Int32 = 25

  /// Creates a decoder for the start of a frame.
  ///
  /// - Parameter isContinued: Whether other frames came before, so that no frame may follow.
  /// - Throws: `ArchiveError` if there is no memory.
  init(isContinued: Bool) throws(ArchiveError) {
    mayEnd = isContinued
    guard let stream = ZSTD_createDStream() else { throw ArchiveError(reason: "out of memory") }
    self.stream = stream
    ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, Self.windowLog)
  }

  deinit { ZSTD_freeDStream(stream) }

  func step(
    _ input: UnsafeRawBufferPointer,
    into output: UnsafeMutableRawBufferPointer
  ) throws(ArchiveError) -> (used: Int, written: Int) {
    guard !input.isEmpty || !mayEnd else { return (0, 0) }
    var source = ZSTD_inBuffer(src: input.baseAddress, size: input.count, pos: 0)
    var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
    let result = ZSTD_decompressStream(stream, &target, &source)
    guard ZSTD_isError(result) == 0 else {
      let name = ZSTD_getErrorName(result).map { String(cString: $0) } ?? "error \(result)"
      let isTooLarge = ZSTD_getErrorCode(result) == ZSTD_error_frameParameter_windowTooLarge
      throw ArchiveError(
        reason: isTooLarge
          ? "the zstd needs a window of more than \(1 << (Self.windowLog - 20)) MiB"
          : "the zstd is damaged: \(name)"
      )
    }
    // The function returns 0 at the end of a frame.
    mayEnd = result == 0
    return (source.pos, target.pos)
  }

  func checkpoint(input: Int64, output: Int64, last: UInt8) -> Checkpoint? {
    mayEnd ? Checkpoint(input: input, output: output) : nil
  }
}
