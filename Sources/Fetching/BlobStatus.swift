/// The presence and verification of a blob's bytes, for attributes and lists.
package struct BlobStatus: Sendable, Equatable {
  /// The part of the bytes that is present.
  package enum Presence: String, Sendable {
    case remote
    case partial
    case complete
  }

  /// The level at which the bytes were verified.
  package enum Verified: String, Sendable {
    case no
    case chunk
    case blob
  }

  package let presence: Presence
  package let cachedBytes: Int64
  package let verified: Verified

  /// Returns the status of bytes whose blob is not complete.
  static func partial(_ bytes: Int64, of count: Int64, verified: Verified = .no) -> BlobStatus {
    let presence: Presence = bytes == 0 ? .remote : bytes == count ? .complete : .partial
    return BlobStatus(presence: presence, cachedBytes: bytes, verified: verified)
  }

  /// Creates a status.
  ///
  /// - Parameters:
  ///   - presence: The part of the bytes that is present.
  ///   - cachedBytes: The number of present bytes.
  ///   - verified: The level at which the bytes were verified.
  package init(presence: Presence, cachedBytes: Int64, verified: Verified) {
    self.presence = presence
    self.cachedBytes = cachedBytes
    self.verified = verified
  }
}
