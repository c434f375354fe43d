/// What is known of a blob's bytes, for attributes and lists.
package struct BlobStatus: Sendable, Equatable {
  /// How much is here.
  package enum Presence: String, Sendable {
    case remote
    case partial
    case complete
  }

  /// What its bytes were held against.
  package enum Verified: String, Sendable {
    case no
    case chunk
    case blob
  }

  package let presence: Presence
  package let cachedBytes: Int64
  package let verified: Verified

  /// The status of bytes whose blob is not complete.
  static func partial(_ bytes: Int64, of count: Int64, verified: Verified = .no) -> BlobStatus {
    let presence: Presence = bytes == 0 ? .remote : bytes == count ? .complete : .partial
    return BlobStatus(presence: presence, cachedBytes: bytes, verified: verified)
  }

  /// Makes a status.
  ///
  /// - Parameters:
  ///   - presence: how much is here.
  ///   - cachedBytes: how many bytes.
  ///   - verified: what they were held against.
  package init(presence: Presence, cachedBytes: Int64, verified: Verified) {
    self.presence = presence
    self.cachedBytes = cachedBytes
    self.verified = verified
  }
}
