import Locking

/// Bytes of a blob that arrived and are not on the disk yet; readers and hash threads read them from memory.
final class StagedBytes: Sendable {
  /// The offset of the first byte in the blob.
  let start: Int64
  /// The offset at which the next piece begins.
  let limit: Int64
  let begun = ContinuousClock.now
  private let buffer: AppendBuffer

  init(_ buffer: AppendBuffer, from start: Int64, to limit: Int64) {
    self.buffer = buffer
    self.start = start
    self.limit = limit
  }

  /// The offset after the last byte that arrived.
  var end: Int64 { start + Int64(buffer.count) }

  /// Appends bytes.
  func append(_ bytes: UnsafeRawBufferPointer) { buffer.append(bytes) }

  /// Calls a closure with a range of the bytes.
  ///
  /// - Parameters:
  ///   - range: A range of the blob between `start` and `end`.
  ///   - body: Must not keep the pointer.
  func withBytes<Result, Failure: Error>(
    _ range: Range<Int64>,
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try buffer.withBytes(Int(range.lowerBound - start)..<Int(range.upperBound - start), body)
  }
}
