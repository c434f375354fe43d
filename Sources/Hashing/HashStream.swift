import COpenSSL
package import OCI

/// A digest in the making: takes bytes as they come.
package struct HashStream: ~Copyable, Sendable {
  /// What is computed.
  package let algorithm: Digest.Algorithm
  private var short = SHA256_CTX()
  private var long = SHA512_CTX()

  /// Starts a digest of no bytes.
  ///
  /// - Parameter algorithm: what to compute.
  package init(_ algorithm: Digest.Algorithm) {
    self.algorithm = algorithm
    reset()
  }

  /// Starts a SHA-256 in the middle of a message.
  ///
  /// - Parameter state: of the stream that hashed what is before.
  package init(resuming state: HashState) {
    self.init(.sha256)
    let bits = UInt64(state.position) << 3
    (short.Nl, short.Nh) = (UInt32(truncatingIfNeeded: bits), UInt32(bits >> 32))
    short.h = state.words
  }

  /// Starts anew.
  package mutating func reset() {
    // FIPS 180-4 initial values; neither call can fail.
    switch algorithm {
    case .sha256: SHA256_Init(&short)
    case .sha512: SHA512_Init(&long)
    }
  }

  /// Takes bytes.
  ///
  /// - Parameter bytes: the next ones.
  package mutating func update(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count > 0 else { return }
    switch algorithm {
    case .sha256: SHA256_Update(&short, bytes.baseAddress, bytes.count)
    case .sha512: SHA512_Update(&long, bytes.baseAddress, bytes.count)
    }
  }

  /// The state of a SHA-256 between two of its blocks; nil within a block and for other digests.
  package var state: HashState? {
    guard algorithm == .sha256, short.num == 0 else { return nil }
    let bits = UInt64(short.Nh) << 32 | UInt64(short.Nl)
    return HashState(words: short.h, position: Int64(bits >> 3))
  }

  /// The digest of all bytes so far.
  ///
  /// Call `reset` before taking more.
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

  /// The digest of some bytes.
  ///
  /// - Parameters:
  ///   - bytes: all of them.
  ///   - algorithm: what to compute.
  package static func digest(of bytes: [UInt8], _ algorithm: Digest.Algorithm = .sha256) -> Digest {
    bytes.withUnsafeBytes { digest(of: $0, algorithm) }
  }

  /// The digest of some bytes.
  ///
  /// - Parameters:
  ///   - bytes: all of them.
  ///   - algorithm: what to compute.
  package static func digest(
    of bytes: UnsafeRawBufferPointer,
    _ algorithm: Digest.Algorithm = .sha256
  ) -> Digest {
    var stream = HashStream(algorithm)
    stream.update(bytes)
    return stream.finish()
  }
}
