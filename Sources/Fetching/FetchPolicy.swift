/// The rules for fetching bytes and for verifying them before they are served (design 4 and 5).
package struct FetchPolicy: Sendable {
  /// The rule for serving bytes before they are verified.
  package enum Verify: String, Sendable, CaseIterable {
    /// Small blobs are verified before they are served, large ones are served as they arrive.
    case deferred
    /// Only verified bytes are served.
    case strict
  }

  /// The rule for fetching bytes that are not read.
  package enum Fill: String, Sendable, CaseIterable {
    /// The first read of a blob starts its completion.
    case background
    /// Only bytes that are read, or are likely to be read next, are fetched.
    case demand
  }

  package var verify = Verify.deferred
  package var fill = Fill.background
  /// How long one request may stay below the minimum rate.
  package var deadline: Duration = .seconds(30)
  /// The rate in bytes per second below which a request counts as stalled.
  package var minimumRate = 1024
  /// How long a request is retried at an endpoint that refuses, resets or answers with errors.
  package var retryFor: Duration = .zero
  /// How long a reader waits without a byte of its blob arriving: until every way to fetch it has failed.
  package var patience: Duration { deadline + retryFor }
  /// The size in bytes up to which blobs are verified before they are served, regardless of the policy.
  package var smallBlob: Int64 = 16 << 20
  /// The maximum size of one request in bytes.
  package var requestSize: Int64 = 16 << 20
  /// Whether the reads of an earlier start are fetched when a blob is opened.
  package var appliesProfiles = false
  /// The maximum number of bytes fetched ahead of readers, for all blobs together.
  package var windowBudget: Int64 = 256 << 20
  /// How long a blob with wrong bytes is first refused; doubled at each repetition.
  package var firstRefusal: Duration = .seconds(30)

  /// Creates the default policy.
  package init() {}
}
