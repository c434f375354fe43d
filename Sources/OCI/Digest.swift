/// The digest of some content: an algorithm and its raw bytes (image-spec descriptor.md, "Digests").
package struct Digest: Sendable, Hashable {
  /// The algorithms that are read and computed.
  package enum Algorithm: String, Sendable, Hashable, CaseIterable {
    case sha256
    case sha512

    /// How many bytes a digest of this algorithm has.
    package var byteCount: Int {
      switch self {
      case .sha256: 32
      case .sha512: 64
      }
    }
  }

  /// The algorithm that made the bytes.
  package let algorithm: Algorithm
  // The bytes lie in place, so that a digest as a dictionary key costs no allocation. What sha256 leaves is zero.
  private let storage: SIMD64<UInt8>

  /// Makes a digest of raw bytes.
  ///
  /// - Parameters:
  ///   - algorithm: what made them.
  ///   - bytes: exactly as many as the algorithm has.
  package init?(algorithm: Algorithm, bytes: some Collection<UInt8>) {
    guard bytes.count == algorithm.byteCount else { return nil }
    var storage = SIMD64<UInt8>(repeating: 0)
    for (index, byte) in bytes.enumerated() { storage[index] = byte }
    self.algorithm = algorithm
    self.storage = storage
  }

  /// Parses `sha256:<64 hexadecimal digits in lower case>`.
  ///
  /// - Parameter text: the digest as specifications write it.
  package init?(_ text: some StringProtocol) {
    guard let colon = text.firstIndex(of: ":") else { return nil }
    guard let algorithm = Algorithm(rawValue: String(text[..<colon])) else { return nil }
    self.init(algorithm: algorithm, hex: text[text.index(after: colon)...])
  }

  /// Parses the hexadecimal part alone, as a path under `blobs/<algorithm>/` spells it.
  ///
  /// - Parameters:
  ///   - algorithm: what made it.
  ///   - hex: two digits in lower case a byte.
  package init?(algorithm: Algorithm, hex: some StringProtocol) {
    let digits = Array(hex.utf8)
    guard digits.count == algorithm.byteCount * 2 else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(algorithm.byteCount)
    for index in stride(from: 0, to: digits.count, by: 2) {
      guard let high = Self.value(digits[index]), let low = Self.value(digits[index + 1]) else { return nil }
      bytes.append(high << 4 | low)
    }
    self.init(algorithm: algorithm, bytes: bytes)
  }

  /// The raw bytes.
  package var bytes: [UInt8] {
    (0..<algorithm.byteCount).map { storage[$0] }
  }

  /// The bytes in hexadecimal digits, lower case.
  package var hex: String {
    String(unsafeUninitializedCapacity: algorithm.byteCount * 2) { buffer in
      for index in 0..<algorithm.byteCount {
        buffer[index * 2] = Self.digit(storage[index] >> 4)
        buffer[index * 2 + 1] = Self.digit(storage[index] & 15)
      }
      return algorithm.byteCount * 2
    }
  }

  /// The first eight bytes as a number: stable across runs and machines, evenly spread.
  package var prefix64: UInt64 {
    (0..<8).reduce(0) { $0 << 8 | UInt64(storage[$1]) }
  }

  private static func value(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    default: nil
    }
  }

  private static func digit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
  }
}

extension Digest: CustomStringConvertible {
  package var description: String { "\(algorithm.rawValue):\(hex)" }
}

extension Digest: Codable {
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let digest = Digest(text) else {
      throw DecodingError.dataCorruptedError(
        in: container,
        debugDescription: "'\(text.prefix(150))' is not a sha256 or sha512 digest"
      )
    }
    self = digest
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
