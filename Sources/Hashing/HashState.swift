import OCI
/// The state of a SHA-256 between two of its blocks (FIPS 180-4, 6.2.2: the eight words of H).
///
/// With the state before a part of a message that part can be hashed alone; the state behind it is that of the whole
/// message up to there.
package struct HashState: Sendable {
  typealias Words = (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32)

  /// Of a state as bytes.
  package static let byteCount = 32
  /// Bytes of a block of SHA-256: states are to be had at multiples of it.
  package static let blockSize: Int64 = 64

  let words: Words
  /// Bytes of the message before it.
  package let position: Int64

  init(words: Words, position: Int64) {
    self.words = words
    self.position = position
  }

  /// Reads a state.
  ///
  /// - Parameters:
  ///   - bytes: the words, most significant byte first; nil is returned for another count than 32.
  ///   - position: bytes of the message before it, a multiple of 64.
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

  /// The state before the first byte.
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
