import OCI
import Hashing

/// The entry of a chunk in the map of a partial blob, with which the chunk is verified after a reboot.
package struct ChunkRecord: Sendable, Equatable {
  package let kind: ChunkList.Kind
  package let bytes: [UInt8]
  /// Whether the bytes of the chunk were verified against the entry; if not, it is only the start state of
  /// the next chunk.
  package let isVerified: Bool

  /// Creates a record.
  ///
  /// - Parameters:
  ///   - kind: The kind of the entry.
  ///   - bytes: 32 bytes.
  ///   - isVerified: Whether the bytes of the chunk were verified against the entry.
  package init(kind: ChunkList.Kind, bytes: [UInt8], isVerified: Bool = true) {
    self.isVerified = isVerified
    self.kind = kind
    self.bytes = bytes
  }

  /// Whether bytes match the record.
  ///
  /// - Parameters:
  ///   - content: All bytes of the chunk.
  ///   - before: The record of the previous chunk; nil for the first chunk.
  ///   - position: The offset of the chunk in the blob.
  ///   - isLast: Whether this is the last chunk of the blob.
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
