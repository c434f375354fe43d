import BlobCache
import Content
import LocalRegistry
import OCI
import Locking
import SystemPackage

/// Reads the headers that locate tensors, so that a jump into a tensor opens a window over that tensor.
extension LazyBlob {
  /// Adds a file of the blob.
  ///
  /// - Parameters:
  ///   - range: The byte range of the file in the blob.
  ///   - name: The name of the file.
  package func noteFile(_ range: Range<Int64>, name: String) {
    let isPartial = state.withLock { state in
      guard state.blob.partial != nil else { return false }
      state.demand.formats.add(range, name: name)
      return true
    }
    if isPartial { readHeaders(after: nil) }
  }

  /// Removes unverified bytes that are known to be wrong, so that they are fetched again.
  ///
  /// - Parameter range: A byte range within the blob.
  package func distrust(_ range: Range<Int64>) {
    guard let content = partial else { return }
    let range = range.clamped(to: 0..<descriptor.size)
    let blocks = BlockMap.blocks(touching: range, size: descriptor.size)
    // If another process has the blob open, the bytes are kept; its readers are refused in the same way.
    guard (try? content.blob.drop(blocks)) != nil else { return }
    // A request in flight counts the blocks as delivered.
    state.withLock { $0.demand.table.relinquish(blocks) }
    content.verifier.forget(BlockMap.chunks(touching: range))
  }

  /// Returns the reason why bytes cannot be the blob's, by the names of the files in it, or nil if there is
  /// none.
  func doubt(ofFirst bytes: UnsafeRawBufferPointer, at offset: Int64) -> String? {
    guard let file = state.withLock({ $0.demand.formats.promise(at: offset) }) else { return nil }
    return file.magic.doubt(bytes, size: file.size)
  }

  /// Reads the present parts of headers, on a thread of its own.
  func readHeaders(after arrived: Range<Int64>?) {
    let next: (index: Int, bytes: Range<Int64>, blob: PartialBlob)? = state.withLock { state in
      guard let blob = state.blob.partial?.blob else { return nil }
      let chunks = state.blob.chunks
      let found = state.demand.formats.takeUnread(after: arrived) { start, limit in
        let end = min(start + limit, descriptor.size)
        let gap = blob.nextMissing(from: Int(start / BlockMap.blockSize), limit: 1)?.lowerBound
        var ready = min(end, gap.map { Int64($0) * BlockMap.blockSize } ?? end)
        // Unverified bytes are not parsed if they can be verified.
        if let chunks {
          while ready > start, !chunks.covers(start..<ready) {
            ready = max(start, ready - chunks.list.chunkSize)
          }
        }
        return max(0, ready - start)
      }
      return found.map { ($0.index, $0.bytes, blob) }
    }
    guard let next else { return }
    store.parsing.start {
      let finding = Self.finding(
        next.bytes,
        next.blob,
        self.state.withLock { $0.demand.formats.size(of: next.index) }
      )
      let isContentRead = self.state.withLock {
        $0.demand.note(finding, of: next.index, count: Int64(next.bytes.count))
      }
      if isContentRead { self.fill() }
      // More bytes may have arrived in the meantime.
      if case .more? = finding { self.readHeaders(after: nil) }
    }
  }

  private static func finding(
    _ range: Range<Int64>,
    _ blob: PartialBlob,
    _ size: Int64
  ) -> TensorLayout.Finding? {
    var bytes = [UInt8](repeating: 0, count: range.count)
    let count = bytes.withUnsafeMutableBytes { try? blob.read(into: $0, at: range.lowerBound) }
    guard count == range.count else { return nil }
    return TensorLayout.read(bytes, size: size)
  }
}
