import Hashing
package import OCI

/// The SHA-256 of each chunk of a blob, in order (design 5): with it any part of the blob can be verified by itself.
package struct ChunkList: Sendable, Equatable {
  /// The annotation of a layer that names its list.
  package static let digestAnnotation = "dev.weightfs.chunks.digest"
  /// The annotation of a layer that says how long the chunks of its list are.
  package static let sizeAnnotation = "dev.weightfs.chunks.size"
  /// The type of a list that is a blob.
  package static let mediaType = MediaType(rawValue: "application/vnd.weightfs.chunks.v1")
  /// Of one digest, bytes.
  package static let digestSize = 32

  /// Of the blob, bytes.
  package let blobSize: Int64
  /// Of a chunk, bytes; the last one may be shorter.
  package let chunkSize: Int64
  /// One digest after another.
  package let bytes: [UInt8]

  /// Reads a list; nil where the number of digests is not that of the chunks, or the size is none that can be used.
  ///
  /// - Parameters:
  ///   - bytes: one digest after another.
  ///   - blobSize: of the blob, bytes.
  ///   - chunkSize: of a chunk, bytes.
  package init?(_ bytes: [UInt8], blobSize: Int64, chunkSize: Int64) {
    guard Self.isUsable(chunkSize: chunkSize),
      Int64(bytes.count) == Self.size(blobSize: blobSize, chunkSize: chunkSize)
    else { return nil }
    self.blobSize = blobSize
    self.chunkSize = chunkSize
    self.bytes = bytes
  }

  /// Whether chunks may be so long: whole blocks, and short enough that a read does not wait for long.
  ///
  /// - Parameter chunkSize: bytes.
  /// - Returns: true for multiples of 64 KiB up to 16 MiB.
  package static func isUsable(chunkSize: Int64) -> Bool {
    chunkSize >= BlockMap.blockSize && chunkSize <= 16 << 20 && chunkSize.isMultiple(of: BlockMap.blockSize)
  }

  /// How long the list of a blob is.
  ///
  /// - Parameters:
  ///   - blobSize: of the blob, bytes.
  ///   - chunkSize: of a chunk, bytes.
  /// - Returns: bytes.
  package static func size(blobSize: Int64, chunkSize: Int64) -> Int64 {
    (blobSize + chunkSize - 1) / chunkSize * Int64(digestSize)
  }

  /// How many chunks there are.
  package var count: Int { bytes.count / Self.digestSize }

  /// The bytes of a chunk.
  ///
  /// - Parameter chunk: its number.
  /// - Returns: within the blob.
  package func range(of chunk: Int) -> Range<Int64> {
    Int64(chunk) * chunkSize..<min(Int64(chunk + 1) * chunkSize, blobSize)
  }

  /// The chunks that a range of bytes lies in.
  ///
  /// - Parameter range: within the blob.
  /// - Returns: their numbers.
  package func chunks(touching range: Range<Int64>) -> Range<Int> {
    guard !range.isEmpty else { return 0..<0 }
    return Int(range.lowerBound / chunkSize)..<min(count, Int((range.upperBound - 1) / chunkSize) + 1)
  }

  /// The digest of a chunk.
  ///
  /// - Parameter chunk: its number.
  /// - Returns: SHA-256.
  package func digest(of chunk: Int) -> Digest? {
    let first = chunk * Self.digestSize
    return Digest(algorithm: .sha256, bytes: bytes[first..<first + Self.digestSize])
  }

  /// Whether bytes are a chunk's.
  ///
  /// - Parameters:
  ///   - content: all of the chunk.
  ///   - chunk: its number.
  /// - Returns: true if so.
  package func matches(_ content: UnsafeRawBufferPointer, chunk: Int) -> Bool {
    Int64(content.count) == Int64(range(of: chunk).count)
      && HashStream.digest(of: content, .sha256) == digest(of: chunk)
  }
}
