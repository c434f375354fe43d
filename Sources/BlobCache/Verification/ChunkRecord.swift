import OCI
import Hashing

/// What the map of a partial blob has of a chunk, so that it counts after a reboot.
package struct ChunkRecord: Sendable, Equatable {
  package let kind: ChunkList.Kind
  package let bytes: [UInt8]
  /// The bytes of the chunk were held against it; else it only tells where the next chunk begins.
  package let isVerified: Bool

  /// Makes a record.
  ///
  /// - Parameters:
  ///   - kind: what the bytes are.
  ///   - bytes: 32 of them.
  ///   - isVerified: whether the bytes of the chunk were held against it.
  package init(kind: ChunkList.Kind, bytes: [UInt8], isVerified: Bool = true) {
    self.isVerified = isVerified
    self.kind = kind
    self.bytes = bytes
  }

  /// Whether bytes are those of the chunk.
  ///
  /// - Parameters:
  ///   - content: all of the chunk.
  ///   - before: the record of the chunk before; nil for the first.
  ///   - position: of the chunk in the blob.
  ///   - isLast: whether the blob ends with it.
  func matches(
    _ content: UnsafeRawBufferPointer,
    behind before: ChunkRecord?,
    position: Int64,
    isLast: Bool
  ) -> Bool {
    switch kind {
    case .digests: return HashStream.digest(of: content).bytes == bytes
    case .states:
      let state =
        position == 0
        ? HashState.start
        : before.flatMap { $0.kind == .states ? HashState($0.bytes, position: position) : nil }
      return state.map { ChunkList.entry(of: content, behind: $0, isLast: isLast) } == bytes
    }
  }
}
