import COpenSSL
package import OCI

/// Computes a digest incrementally.
package struct HashStream: ~Copyable, Sendable {
  /// The algorithm of the digest.
  package let algorithm: Digest.Algorithm
  private var short = SHA256_CTX()
  private var long = SHA512_CTX()

  /// Creates a stream without bytes.
  package init(_ algorithm: Digest.Algorithm) {
    self.algorithm = algorithm
    reset()
  }

  /// Creates a SHA-256 stream that continues from a state.
  ///
  /// - Parameter state: The state after the preceding bytes.
  package init(resuming state: HashState) {
    self.init(.sha256)
    let bits = UInt64(state.position) << 3
    (short.Nl, short.Nh) = (UInt32(truncatingIfNeeded: bits), UInt32(bits >> 32))
    short.h = state.words
  }

  /// Resets the stream to its initial state.
  package mutating func reset() {
    // FIPS 180-4 initial values; neither call can fail.
    switch algorithm {
    case .sha256: SHA256_Init(&short)
    case .sha512: SHA512_Init(&long)
    }
  }

  /// Adds the next bytes.
  package mutating func update(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count > 0 else { return }
    switch algorithm {
    case .sha256: SHA256_Update(&short, bytes.baseAddress, bytes.count)
    case .sha512: SHA512_Update(&long, bytes.baseAddress, bytes.count)
    }
  }

  /// The state of a SHA-256 at a block boundary; nil within a block and for other algorithms.
  package var state: HashState? {
    guard algorithm == .sha256, short.num == 0 else { return nil }
    let bits = UInt64(short.Nh) << 32 | UInt64(short.Nl)
    return HashState(words: short.h, position: Int64(bits >> 3))
  }

  /// Returns the digest of all bytes.
  ///
  /// `reset` must be called before adding more bytes.
  package mutating func finish() -> Digest {
    let bytes = [UInt8](unsafeUninitializedCapacity: algorithm.byteCount) { buffer, count in
      switch algorithm {
      case .sha256: SHA256_Final(buffer.baseAddress, &short)
      case .sha512: SHA512_Final(buffer.baseAddress, &long)
      }
      count = algorithm.byteCount
    }
    guard let digest = Digest(algorithm: algorithm, bytes: bytes) else {
      preconditionFailure("a digest of another length")
    }
    return digest
  }

  /// Returns the digest of some bytes.
  package static func digest(of bytes: [UInt8], _ algorithm: Digest.Algorithm = .sha256) -> Digest {
    bytes.withUnsafeBytes { digest(of: $0, algorithm) }
  }

  /// Returns the digest of some bytes.
  package static func digest(
    of bytes: UnsafeRawBufferPointer,
    _ algorithm: Digest.Algorithm = .sha256
  ) -> Digest {
    var stream = HashStream(algorithm)
    stream.update(bytes)
    return stream.finish()
  }
}
