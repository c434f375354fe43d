import BlobCache
import LocalRegistry
import OCI

/// The digests of a blob's chunks that were computed so far.
///
/// Pure. Its memory follows the chunks that were hashed, not the size that a manifest claims.
struct ChunkDigests: Sendable {
  // A page holds the digests of 256 MiB of the blob.
  private static let pageChunks = 256

  private struct Page {
    var bytes = [UInt8](repeating: 0, count: ChunkDigests.pageChunks * ChunkList.digestSize)
    var isKnown = [Bool](repeating: false, count: ChunkDigests.pageChunks)
  }

  /// How many chunks the blob has.
  let count: Int
  private var pages: [Int: Page] = [:]
  private var knownCount = 0

  init(count: Int) { self.count = count }

  func contains(_ chunk: Int) -> Bool {
    pages[chunk / Self.pageChunks]?.isKnown[chunk % Self.pageChunks] ?? false
  }

  mutating func insert(_ digest: Digest, of chunk: Int) {
    let (number, index) = chunk.quotientAndRemainder(dividingBy: Self.pageChunks)
    if !contains(chunk) { knownCount += 1 }
    pages[number, default: Page()].isKnown[index] = true
    let first = index * ChunkList.digestSize
    pages[number]?.bytes.replaceSubrange(first..<first + ChunkList.digestSize, with: digest.bytes)
  }

  mutating func remove(_ chunks: Range<Int>) {
    for chunk in chunks where contains(chunk) {
      pages[chunk / Self.pageChunks]?.isKnown[chunk % Self.pageChunks] = false
      knownCount -= 1
    }
  }

  /// All digests one after another; nil while some are not known.
  var all: [UInt8]? {
    guard knownCount == count else { return nil }
    var result: [UInt8] = []
    result.reserveCapacity(count * ChunkList.digestSize)
    for first in stride(from: 0, to: count, by: Self.pageChunks) {
      guard let page = pages[first / Self.pageChunks] else { return nil }
      result += page.bytes.prefix(min(Self.pageChunks, count - first) * ChunkList.digestSize)
    }
    return result
  }
}
