/// The digest of some content: an algorithm and its raw bytes (image-spec descriptor.md, "Digests").
package struct Digest: Sendable, Hashable {
  /// The supported algorithms.
  package enum Algorithm: String, Sendable, Hashable, CaseIterable {
    case sha256
    case sha512

    /// Number of bytes of a digest.
    package var byteCount: Int {
      switch self {
      case .sha256: 32
      case .sha512: 64
      }
    }
  }

  /// The algorithm of the digest.
  package let algorithm: Algorithm
  // The bytes are stored inline, so that a digest as a dictionary key needs no allocation; SHA-256 leaves the
  // last four
  // words zero. Eight words rather than a SIMD vector: a vector has an alignment of 64 bytes, but the frames
  // of async
  // functions are aligned to 16 bytes, so that release builds wrote past the end of a frame.
  private let words: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64)

  /// Creates a digest from raw bytes, or returns nil if the number of bytes does not match the algorithm.
  ///
  /// - Parameters:
  ///   - algorithm: The algorithm.
  ///   - bytes: The raw bytes.
  package init?(algorithm: Algorithm, bytes: some Collection<UInt8>) {
    guard bytes.count == algorithm.byteCount else { return nil }
    var words: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
    withUnsafeMutableBytes(of: &words) { $0.copyBytes(from: bytes) }
    self.algorithm = algorithm
    self.words = words
  }

  /// Parses `sha256:<64 hexadecimal digits in lower case>`, or returns nil.
  package init?(_ text: some StringProtocol) {
    guard let colon = text.firstIndex(of: ":") else { return nil }
    guard let algorithm = Algorithm(rawValue: String(text[..<colon])) else { return nil }
    self.init(algorithm: algorithm, hex: text[text.index(after: colon)...])
  }

  /// Parses the hexadecimal part, as in a path `blobs/<algorithm>/<hex>`, or returns nil.
  ///
  /// - Parameters:
  ///   - algorithm: The algorithm.
  ///   - hex: Two digits in lower case per byte.
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
    withUnsafeBytes(of: words) { Array($0.prefix(algorithm.byteCount)) }
  }

  /// The bytes as hexadecimal digits in lower case.
  package var hex: String {
    withUnsafeBytes(of: words) { bytes in
      String(unsafeUninitializedCapacity: algorithm.byteCount * 2) { buffer in
        for index in 0..<algorithm.byteCount {
          buffer[index * 2] = Self.digit(bytes[index] >> 4)
          buffer[index * 2 + 1] = Self.digit(bytes[index] & 15)
        }
        return algorithm.byteCount * 2
      }
    }
  }

  /// The first eight bytes as a number: stable across runs and machines, uniformly distributed.
  package var prefix64: UInt64 {
    UInt64(bigEndian: words.0)
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

// Tuples are not Hashable, so these cannot be synthesized.
extension Digest {
  package static func == (left: Digest, right: Digest) -> Bool {
    left.algorithm == right.algorithm
      && left.words.0 == right.words.0 && left.words.1 == right.words.1
      && left.words.2 == right.words.2 && left.words.3 == right.words.3
      && left.words.4 == right.words.4 && left.words.5 == right.words.5
      && left.words.6 == right.words.6 && left.words.7 == right.words.7
  }

  package func hash(into hasher: inout Hasher) {
    hasher.combine(algorithm)
    withUnsafeBytes(of: words) { hasher.combine(bytes: $0) }
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

extension Digest {
  /// The path of the blob in an oci-dir, `blobs/sha256/<hex>` (image-spec image-layout.md).
  package var layoutPath: String { "blobs/\(algorithm.rawValue)/\(hex)" }
}
