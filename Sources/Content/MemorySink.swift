import Synchronization

/// Collects a small blob in memory, in order.
final class MemorySink: BlobSink {
  private let limit: Int
  private let bytes = Mutex<[UInt8]>([])

  /// - Parameter limit: bytes; one more ends the fetch.
  init(limit: Int) { self.limit = limit }

  func receive(_ piece: UnsafeRawBufferPointer, at offset: Int64) -> Bool {
    bytes.withLock { bytes in
      guard offset <= bytes.count else { return false }
      // A source that starts anew sends what is there already.
      let skip = bytes.count - Int(offset)
      guard skip < piece.count else { return true }
      guard bytes.count + piece.count - skip <= limit else { return false }
      bytes.append(contentsOf: piece[skip...])
      return true
    }
  }

  func take() -> [UInt8] { bytes.withLock { $0 } }
}
