import Hashing
package import OCI

/// Digests of bytes in memory, for targets that do no other hashing.
package enum Verification {
  /// Returns the digest of some bytes.
  package static func digest(of bytes: [UInt8], _ algorithm: Digest.Algorithm = .sha256) -> Digest {
    HashStream.digest(of: bytes, algorithm)
  }
}

extension Descriptor {
  /// The content embedded in the descriptor, if it matches size and digest (image-spec descriptor.md,
  /// "Embedded Content").
  package var verifiedData: [UInt8]? {
    guard let data, Int64(data.count) == size, Verification.digest(of: data, digest.algorithm) == digest
    else {
      return nil
    }
    return data
  }
}
