import OCI
/// The state of a SHA-256 at a block boundary (FIPS 180-4, 6.2.2: the eight words of H).
///
/// With the state before a part of a message, the part can be hashed independently; the state after it is
/// that of the complete message up to there.
package struct HashState: Sendable {
  typealias Words = (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32)

  /// Size of an encoded state in bytes.
  package static let byteCount = 32
  /// Block size of SHA-256 in bytes; states exist only at its multiples.
  package static let blockSize: Int64 = 64

  let words: Words
  /// Number of message bytes before the state.
  package let position: Int64

  init(words: Words, position: Int64) {
    self.words = words
    self.position = position
  }

  /// Decodes a state, or returns nil if the number of bytes or the position is invalid.
  ///
  /// - Parameters:
  ///   - bytes: The words, most significant byte first; 32 bytes.
  ///   - position: The number of message bytes before the state, a multiple of 64.
  package init?(_ bytes: some Collection<UInt8>, position: Int64) {
    guard bytes.count == Self.byteCount, position >= 0, position.isMultiple(of: Self.blockSize) else {
      return nil
    }
    var words = [UInt32](repeating: 0, count: 8)
    for (index, byte) in bytes.enumerated() { words[index / 4] = words[index / 4] << 8 | UInt32(byte) }
    self.init(
      words: (words[0], words[1], words[2], words[3], words[4], words[5], words[6], words[7]),
      position: position
    )
  }

  /// The initial state.
  package static var start: HashState {
    let stream = HashStream(.sha256)
    guard let state = stream.state else { preconditionFailure("a new stream is between two blocks") }
    return state
  }

  /// The words, most significant byte first.
  package var bytes: [UInt8] {
    withUnsafeBytes(of: words) { raw in
      raw.bindMemory(to: UInt32.self).flatMap { word in withUnsafeBytes(of: word.bigEndian) { Array($0) } }
    }
  }
}

extension HashState: Equatable {
  package static func == (left: HashState, right: HashState) -> Bool {
    left.position == right.position && left.bytes == right.bytes
  }
}
