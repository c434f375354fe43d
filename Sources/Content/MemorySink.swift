import Locking

/// Collects a small blob in memory, in ascending order.
final class MemorySink: BlobSink {
  private let start: Int64
  private let limit: Int
  private let bytes = Mutex<[UInt8]>([])

  /// - Parameters:
  ///   - start: The start of the range in the blob.
  ///   - limit: The maximum number of bytes; a further byte ends the fetch.
  init(start: Int64 = 0, limit: Int) {
    self.start = start
    self.limit = limit
  }

  func receive(_ piece: UnsafeRawBufferPointer, at offset: Int64) -> Bool {
    bytes.withLock { bytes in
      let position = start + Int64(bytes.count)
      // A source that restarts, or starts before the range, sends bytes that are already present or not
      // wanted.
      guard offset <= position else { return false }
      let skip = position - offset
      guard skip < Int64(piece.count) else { return true }
      guard bytes.count + piece.count - Int(skip) <= limit else {
        // Bytes after the range, or beyond a declared size that is too small, end the fetch.
        bytes.append(contentsOf: piece[Int(skip)...].prefix(limit - bytes.count))
        return false
      }
      bytes.append(contentsOf: piece[Int(skip)...])
      return true
    }
  }

  func take() -> [UInt8] { bytes.withLock { $0 } }
}
