import Hashing
package import OCI

/// Digests of what is in memory, for targets that hash nothing else.
package enum Verification {
  /// The digest of some bytes.
  ///
  /// - Parameters:
  ///   - bytes: all of them.
  ///   - algorithm: what to compute.
  /// - Returns: what was asked for.
  package static func digest(of bytes: [UInt8], _ algorithm: Digest.Algorithm = .sha256) -> Digest {
    HashStream.digest(of: bytes, algorithm)
  }
}
