import Hashing
package import OCI

/// Digests of what is in memory, for targets that hash nothing else.
package enum Verification {
  /// The digest of some bytes.
  ///
  /// - Parameters:
  ///   - bytes: all of them.
  ///   - algorithm: what to compute.
  package static func digest(of bytes: [UInt8], _ algorithm: Digest.Algorithm = .sha256) -> Digest {
    HashStream.digest(of: bytes, algorithm)
  }
}

extension Descriptor {
  /// The content that the descriptor carries itself, where it is what size and digest say (image-spec descriptor.md,
  /// "Embedded Content").
  package var verifiedData: [UInt8]? {
    guard let data, Int64(data.count) == size, Verification.digest(of: data, digest.algorithm) == digest
    else {
      return nil
    }
    return data
  }
}
