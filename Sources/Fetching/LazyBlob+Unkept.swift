import BlobCache
import Content
import LocalRegistry
import Logging
import OCI
import Locking

/// Serves reads while the disk is full: bytes are served without being kept (design 6).
extension LazyBlob {
  // The maximum size of a read served from memory, in bytes; the kernel reads at most 1 MiB at once.
  private static let limit: Int64 = 16 << 20

  /// Fetches a range into memory; if a list is in use, complete chunks, each compared with the list.
  private func unkeptBytes(
    _ range: Range<Int64>,
    _ source: any Repository
  ) async throws(ContentError) -> [UInt8] {
    guard let chunks = state.withLock({ $0.blob.chunks }) else {
      return try await source.bytes(of: descriptor, range: range)
    }
    let whole = chunks.aligned(range)
    let bytes = try await source.bytes(of: descriptor, range: whole)
    for chunk in chunks.list.chunks(touching: whole) {
      let part = chunks.list.range(of: chunk)
      let first = Int(part.lowerBound - whole.lowerBound)
      let isRight = bytes[first..<first + part.count].withUnsafeBytes {
        chunks.list.matches($0, chunk: chunk)
      }
      guard isRight else { throw wrongChunk(chunk) }
    }
    let first = Int(range.lowerBound - whole.lowerBound)
    return Array(bytes[first..<first + range.count])
  }

  /// Answers the readers of verified bytes from memory, if the blob fits.
  private func serveWholeWithoutKeeping(_ error: ContentError) {
    guard descriptor.size <= Self.limit, let source = state.withLock({ $0.sources.first }) else { return }
    let waiting = state.withLock { $0.blob.takeReaders() }
    guard !waiting.isEmpty else { return }
    Task {
      do throws(ContentError) {
        // One window over the complete blob: the digest covers only all bytes together.
        let bytes = try await self.unkept.whole { () async throws(ContentError) in
          try await source.verifiedBytes(of: self.descriptor, limit: Self.limit)
        }
        for waiter in waiting {
          waiter.reply.bytes(Array(bytes[Int(waiter.range.lowerBound)..<Int(waiter.range.upperBound)]))
        }
      } catch {
        for waiter in waiting { waiter.reply.fail(error) }
      }
    }
  }

  /// Answers the readers of lost blocks from memory.
  ///
  /// Waiters that need the complete blob on the disk fail.
  func serveWithoutKeeping(_ runs: [Range<Int>], _ error: ContentError) {
    guard mayServePartial else { return serveWholeWithoutKeeping(error) }
    // A command that prefetches needs its bytes on the disk.
    let waiting = state.withLock { $0.blob.takeReaders(lacking: runs, limit: Self.limit) }
    guard !waiting.isEmpty, let source = state.withLock({ $0.sources.first }) else {
      for waiter in waiting { waiter.reply.fail(error) }
      return
    }
    for waiter in waiting {
      Task {
        do throws(ContentError) {
          let bytes = try await self.unkept.bytes(waiter.range) { (range) async throws(ContentError) in
            try await self.unkeptBytes(range, source)
          }
          waiter.reply.bytes(bytes)
        } catch {
          waiter.reply.fail(error)
        }
      }
    }
  }
}
