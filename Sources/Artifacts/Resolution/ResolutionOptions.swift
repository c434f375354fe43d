/// How long answers of registries are cached, and what happens without an answer.
package struct ResolutionOptions: Sendable {
  /// Time to live of the resolution of a tag.
  package var timeToLive: Duration = .seconds(60)
  /// How long the absence of a name is cached.
  package var negativeTimeToLive: Duration = .seconds(5)
  /// Whether no request may be sent.
  package var isOffline = false
  /// Whether the last known resolution of a tag is used if its registry does not answer, or gives an invalid
  /// answer.
  package var acceptsStale = true
  /// How long a look-up of a known tag waits for the registry before it uses the last known resolution.
  package var staleWait: Duration = .seconds(1)

  /// Creates the default options.
  package init() {}
}
