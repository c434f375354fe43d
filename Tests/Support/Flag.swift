import Synchronization

/// An event that happens once.
package final class Flag: Sendable {
  private let isRaised = Atomic(false)

  package init() {}

  /// Returns true for the first call.
  package func raise() -> Bool { !isRaised.exchange(true, ordering: .acquiringAndReleasing) }
}
