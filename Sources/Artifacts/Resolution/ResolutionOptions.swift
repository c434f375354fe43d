/// How long answers of registries are remembered, and what is done without one.
package struct ResolutionOptions: Sendable {
  /// How long the resolution of a tag is good.
  package var timeToLive: Duration = .seconds(60)
  /// How long a name that does not exist is remembered.
  package var negativeTimeToLive: Duration = .seconds(5)
  /// No request is sent.
  package var isOffline = false
  /// The last known resolution of a tag is used where its registry does not answer, or answers wrongly.
  package var acceptsStale = true
  /// How long the registry of a known tag may take to answer before the last known answer is given.
  package var staleWait: Duration = .seconds(1)

  /// Makes the usual options.
  package init() {}
}
