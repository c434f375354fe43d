import Content
import LocalRegistry
import Logging
import OCI
import Synchronization

/// Reads while the disk is full: bytes are served without being kept (design 6).
extension LazyBlob {
  // A read of the kernel asks for 1 MiB at the most; a pull of a whole blob is not served from memory.
  private static let limit: Int64 = 16 << 20

  /// Answers those who wait for lost blocks from memory.
  ///
  /// Who wants the whole blob kept is left to fail.
  func serveWithoutKeeping(_ runs: [Range<Int>], _ error: ContentError) {
    guard servesPartial else { return }
    let waiting: [(ReadReplyBox, Range<Int64>)] = state.withLock { state in
      guard case .partial(let blob, _) = state.phase else { return [] }
      let lost = runs.flatMap { blob.missing(in: $0) }
      let waiters = state.table.takeReady { waiter in
        guard let range = waiter.range, Int64(range.count) <= Self.limit else { return false }
        let blocks = BlockMap.blocks(touching: range, size: descriptor.size)
        return lost.contains { $0.overlaps(blocks) }
      }
      return waiters.compactMap { state.pending.removeValue(forKey: $0.identifier) }.map {
        ($0.reply, $0.range)
      }
    }
    guard !waiting.isEmpty, let source = state.withLock({ $0.sources.first }) else {
      for (reply, _) in waiting { reply.fail(error) }
      return
    }
    for (reply, range) in waiting {
      Task { [descriptor] in
        do throws(ContentError) {
          reply.bytes(try await source.bytes(of: descriptor, range: range))
        } catch {
          reply.fail(error)
        }
      }
    }
  }
}
