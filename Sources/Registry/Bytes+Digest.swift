import Content
import OCI

extension [UInt8] {
  func digest(_ algorithm: Digest.Algorithm) -> Digest { Verification.digest(of: self, algorithm) }
}
