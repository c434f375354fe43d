import Hashing
package import OCI

/// What each chunk of a blob is verified against by itself, in order (design 5, decisions/0013).
package struct ChunkList: Sendable, Equatable {
  /// What the entries of a list are.
  package enum Kind: Sendable, Equatable {
    /// The SHA-256 of each chunk.
    case digests
    /// The state of the blob's own SHA-256 behind each chunk, and for the last chunk the digest of the blob: chunks that
    /// are all right make a blob that is right.
    case states
  }

  /// The annotation of a layer that names its list.
  package static let digestAnnotation = "dev.weightfs.chunks.digest"
  /// The annotation of a layer that says how long the chunks of its list are.
  package static let sizeAnnotation = "dev.weightfs.chunks.size"
  /// The type of a list that is a blob.
  package static let mediaType = MediaType(rawValue: "application/vnd.weightfs.chunks.v1")
  /// Of one entry, bytes.
  package static let entrySize = 32

  /// Of the blob, bytes.
  package let blobSize: Int64
  /// Of a chunk, bytes; the last one may be shorter.
  package let chunkSize: Int64
  /// One entry after another.
  package let bytes: [UInt8]
  package let kind: Kind

  /// Reads a list; nil where the number of entries is not that of the chunks, or the size is none that can be used.
  ///
  /// - Parameters:
  ///   - bytes: one entry after another.
  ///   - blobSize: of the blob, bytes.
  ///   - chunkSize: of a chunk, bytes.
  ///   - kind: what the entries are.
  package init?(_ bytes: [UInt8], blobSize: Int64, chunkSize: Int64, kind: Kind = .digests) {
    guard Self.isUsable(chunkSize: chunkSize),
      Int64(bytes.count) == Self.size(blobSize: blobSize, chunkSize: chunkSize)
    else { return nil }
    self.blobSize = blobSize
    self.chunkSize = chunkSize
    self.bytes = bytes
    self.kind = kind
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
  package static func size(blobSize: Int64, chunkSize: Int64) -> Int64 {
    (blobSize + chunkSize - 1) / chunkSize * Int64(entrySize)
  }

  /// How many chunks there are.
  package var count: Int { bytes.count / Self.entrySize }

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
  package func chunks(touching range: Range<Int64>) -> Range<Int> {
    guard !range.isEmpty else { return 0..<0 }
    return Int(range.lowerBound / chunkSize)..<min(count, Int((range.upperBound - 1) / chunkSize) + 1)
  }

  /// The entry of a chunk.
  ///
  /// - Parameter chunk: its number.
  package func entry(of chunk: Int) -> ArraySlice<UInt8> {
    bytes[chunk * Self.entrySize..<(chunk + 1) * Self.entrySize]
  }

  /// Whether the list vouches for the whole of a blob, so that nothing else has to be hashed.
  ///
  /// - Parameter digest: of the blob.
  package func isProof(of digest: Digest) -> Bool {
    kind == .states && digest.algorithm == .sha256 && count > 0
      && entry(of: count - 1).elementsEqual(digest.bytes)
  }

  /// Whether bytes are a chunk's.
  ///
  /// - Parameters:
  ///   - content: all of the chunk.
  ///   - chunk: its number.
  package func matches(_ content: UnsafeRawBufferPointer, chunk: Int) -> Bool {
    let range = range(of: chunk)
    guard Int64(content.count) == Int64(range.count) else { return false }
    switch kind {
    case .digests: return HashStream.digest(of: content, .sha256).bytes.elementsEqual(entry(of: chunk))
    case .states:
      let before = chunk == 0 ? .start : HashState(entry(of: chunk - 1), position: range.lowerBound)
      guard let before else { return false }
      return Self.entry(of: content, behind: before, isLast: chunk == count - 1).elementsEqual(
        entry(of: chunk)
      )
    }
  }

  /// The entry of a list of states for a chunk.
  ///
  /// - Parameters:
  ///   - content: all of the chunk.
  ///   - state: behind the chunk before it.
  ///   - isLast: whether the blob ends with it.
  static func entry(of content: UnsafeRawBufferPointer, behind state: HashState, isLast: Bool) -> [UInt8] {
    var stream = HashStream(resuming: state)
    stream.update(content)
    return isLast ? stream.finish().bytes : stream.state?.bytes ?? []
  }
}
