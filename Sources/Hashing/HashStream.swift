import COpenSSL
package import OCI

/// A digest in the making: takes bytes as they come.
// SAFETY: it cannot be copied and everything that touches the context is mutating, so one thread has it at a time.
package struct HashStream: ~Copyable, @unchecked Sendable {
  /// What is computed.
  package let algorithm: Digest.Algorithm
  private let context: OpaquePointer

  // SAFETY: EVP_MD_fetch gives objects that are immutable and shared by threads (EVP_DigestInit(3), "fetching").
  private nonisolated(unsafe) static let sha256 = EVP_MD_fetch(nil, "SHA256", nil)
  private nonisolated(unsafe) static let sha512 = EVP_MD_fetch(nil, "SHA512", nil)

  /// Starts a digest of no bytes.
  ///
  /// - Parameter algorithm: what to compute.
  package init(_ algorithm: Digest.Algorithm) {
    guard let context = EVP_MD_CTX_new() else { preconditionFailure("out of memory for a digest") }
    self.algorithm = algorithm
    self.context = context
    Self.start(context, algorithm)
  }

  deinit { EVP_MD_CTX_free(context) }

  /// Starts anew.
  package mutating func reset() { Self.start(context, algorithm) }

  private static func start(_ context: OpaquePointer, _ algorithm: Digest.Algorithm) {
    let result = EVP_DigestInit_ex2(context, algorithm == .sha256 ? sha256 : sha512, nil)
    precondition(result == 1, "OpenSSL has no \(algorithm.rawValue)")
  }

  /// Takes bytes.
  ///
  /// - Parameter bytes: the next ones.
  package mutating func update(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count > 0 else { return }
    let result = EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
    precondition(result == 1, "EVP_DigestUpdate failed")
  }

  /// The digest of all bytes so far.
  ///
  /// Call `reset` before taking more.
  package mutating func finish() -> Digest {
    let bytes = [UInt8](unsafeUninitializedCapacity: algorithm.byteCount) { buffer, count in
      let result = EVP_DigestFinal_ex(context, buffer.baseAddress, nil)
      precondition(result == 1, "EVP_DigestFinal_ex failed")
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
  /// - Returns: what was asked for.
  package static func digest(of bytes: [UInt8], _ algorithm: Digest.Algorithm = .sha256) -> Digest {
    bytes.withUnsafeBytes { digest(of: $0, algorithm) }
  }

  /// The digest of some bytes.
  ///
  /// - Parameters:
  ///   - bytes: all of them.
  ///   - algorithm: what to compute.
  /// - Returns: what was asked for.
  package static func digest(
    of bytes: UnsafeRawBufferPointer,
    _ algorithm: Digest.Algorithm = .sha256
  ) -> Digest {
    var stream = HashStream(algorithm)
    stream.update(bytes)
    return stream.finish()
  }
}
