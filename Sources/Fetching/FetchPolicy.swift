/// What is fetched when, and what must be verified before it is served (design 4 and 5).
package struct FetchPolicy: Sendable {
  /// When bytes may be served.
  package enum Verify: String, Sendable, CaseIterable {
    /// Small blobs verified first, large ones as they arrive.
    case deferred
    /// Nothing before it is verified.
    case strict
  }

  /// What is fetched beside what is read.
  package enum Fill: String, Sendable, CaseIterable {
    /// The first read of a blob starts its completion.
    case background
    /// Only what is read, and what is likely to be read next.
    case demand
  }

  package var verify = Verify.deferred
  package var fill = Fill.background
  /// How long fewer bytes than the minimum rate may come in one request.
  package var deadline: Duration = .seconds(30)
  /// Bytes a second below which a request counts as standing still.
  package var minimumRate = 1024
  /// How long a request is tried at an endpoint that refuses, resets or answers with errors.
  package var retryFor: Duration = .zero
  /// How long a reader waits in all without a byte of its blob arriving: until every way to fetch it has failed.
  package var patience: Duration { deadline + retryFor }
  /// Blobs up to this size are verified before they are served, whatever the policy.
  package var smallBlob: Int64 = 16 << 20
  /// The most that one request asks for.
  package var requestSize: Int64 = 16 << 20
  /// What an earlier start read is fetched as soon as a blob is opened.
  package var appliesProfiles = false
  /// The most that is fetched ahead of readers, of all blobs together, bytes.
  package var windowBudget: Int64 = 256 << 20
  /// How long a blob that turned out wrong is refused at first; doubled each time it does so again.
  package var firstRefusal: Duration = .seconds(30)

  /// Makes the usual policy.
  package init() {}
}
