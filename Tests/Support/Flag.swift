import Synchronization

/// Something that happens once.
package final class Flag: Sendable {
  private let isRaised = Atomic(false)

  package init() {}

  /// True for the first call.
  package func raise() -> Bool { !isRaised.exchange(true, ordering: .acquiringAndReleasing) }
}
