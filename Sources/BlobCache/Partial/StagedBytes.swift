import Locking

/// Bytes of a blob that came and are not on the disk yet: readers and hashes take them from here.
final class StagedBytes: Sendable {
  /// The first byte in the blob.
  let start: Int64
  /// Where the disk's next piece begins.
  let limit: Int64
  let begun = ContinuousClock.now
  private let buffer: AppendBuffer

  init(_ buffer: AppendBuffer, from start: Int64, to limit: Int64) {
    self.buffer = buffer
    self.start = start
    self.limit = limit
  }

  /// Behind the last byte that came.
  var end: Int64 { start + Int64(buffer.count) }

  /// Adds bytes that follow the last ones.
  func append(_ bytes: UnsafeRawBufferPointer) { buffer.append(bytes) }

  /// Calls a function with bytes that came.
  ///
  /// - Parameters:
  ///   - range: of the blob, between `start` and `end`.
  ///   - body: may not keep the pointer.
  func withBytes<Result, Failure: Error>(
    _ range: Range<Int64>,
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try buffer.withBytes(Int(range.lowerBound - start)..<Int(range.upperBound - start), body)
  }
}
