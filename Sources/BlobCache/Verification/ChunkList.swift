import Hashing
package import OCI

/// A list with which each chunk of a blob is verified by itself, in order (decisions/0013).
package struct ChunkList: Sendable, Equatable {
  /// The kinds of entries.
  package enum Kind: Sendable, Equatable {
    /// The SHA-256 of each chunk.
    case digests
    /// The state of the blob's SHA-256 after each chunk, and for the last chunk the digest of the blob: if
    /// all chunks match, the blob matches its digest.
    case states
  }

  /// The annotation of a layer that has the digest of its list.
  package static let digestAnnotation = "dev.weightfs.chunks.digest"
  /// The annotation of a layer that has the chunk size of its list.
  package static let sizeAnnotation = "dev.weightfs.chunks.size"
  /// The media type of a list stored as a blob.
  package static let mediaType = MediaType(rawValue: "application/vnd.weightfs.chunks.v1")
  /// Size of an entry in bytes.
  package static let entrySize = 32

  /// Size of the blob in bytes.
  package let blobSize: Int64
  /// Size of a chunk in bytes; the last chunk may be shorter.
  package let chunkSize: Int64
  /// The entries, concatenated.
  package let bytes: [UInt8]
  package let kind: Kind

  /// Creates a list, or returns nil if the number of entries does not match the sizes or the chunk size is
  /// not usable.
  ///
  /// - Parameters:
  ///   - bytes: The entries, concatenated.
  ///   - blobSize: The size of the blob in bytes.
  ///   - chunkSize: The size of a chunk in bytes.
  ///   - kind: The kind of the entries.
  package init?(_ bytes: [UInt8], blobSize: Int64, chunkSize: Int64, kind: Kind = .digests) {
    guard Self.isUsable(chunkSize: chunkSize),
      Int64(bytes.count) == Self.size(blobSize: blobSize, chunkSize: chunkSize)
    else { return nil }
    self.blobSize = blobSize
    self.chunkSize = chunkSize
    self.bytes = bytes
    self.kind = kind
  }

  /// Whether a chunk size is supported: a multiple of 64 KiB up to 16 MiB, which bounds how long a read waits
  /// for its chunk.
  ///
  /// - Parameter chunkSize: Bytes.
  package static func isUsable(chunkSize: Int64) -> Bool {
    chunkSize >= BlockMap.blockSize && chunkSize <= 16 << 20 && chunkSize.isMultiple(of: BlockMap.blockSize)
  }

  /// Returns the size of the list of a blob in bytes.
  ///
  /// - Parameters:
  ///   - blobSize: The size of the blob in bytes.
  ///   - chunkSize: The size of a chunk in bytes.
  package static func size(blobSize: Int64, chunkSize: Int64) -> Int64 {
    (blobSize + chunkSize - 1) / chunkSize * Int64(entrySize)
  }

  /// Number of chunks.
  package var count: Int { bytes.count / Self.entrySize }

  /// Returns the byte range of a chunk within the blob.
  package func range(of chunk: Int) -> Range<Int64> {
    Int64(chunk) * chunkSize..<min(Int64(chunk + 1) * chunkSize, blobSize)
  }

  /// Returns the chunks that overlap a byte range of the blob.
  package func chunks(touching range: Range<Int64>) -> Range<Int> {
    guard !range.isEmpty else { return 0..<0 }
    return Int(range.lowerBound / chunkSize)..<min(count, Int((range.upperBound - 1) / chunkSize) + 1)
  }

  /// Returns the entry of a chunk.
  package func entry(of chunk: Int) -> ArraySlice<UInt8> {
    bytes[chunk * Self.entrySize..<(chunk + 1) * Self.entrySize]
  }

  /// Whether the list proves the digest of the complete blob, so that the blob need not be hashed as well.
  package func isProof(of digest: Digest) -> Bool {
    kind == .states && digest.algorithm == .sha256 && count > 0
      && entry(of: count - 1).elementsEqual(digest.bytes)
  }

  /// Whether bytes match the entry of a chunk.
  ///
  /// - Parameters:
  ///   - content: All bytes of the chunk.
  ///   - chunk: The number of the chunk.
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

  /// Returns the entry of a list of states for a chunk.
  ///
  /// - Parameters:
  ///   - content: All bytes of the chunk.
  ///   - state: The state after the previous chunk.
  ///   - isLast: Whether this is the last chunk of the blob.
  static func entry(of content: UnsafeRawBufferPointer, behind state: HashState, isLast: Bool) -> [UInt8] {
    var stream = HashStream(resuming: state)
    stream.update(content)
    return isLast ? stream.finish().bytes : stream.state?.bytes ?? []
  }
}
