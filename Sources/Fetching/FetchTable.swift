/// Who waits for which bytes of a blob, and what is under way.
///
/// Pure: which blocks are there is asked of the caller.
package struct FetchTable: Sendable {
  /// Somebody who waits.
  package struct Waiter: Sendable, Equatable {
    package let identifier: UInt64
    /// Bytes; nil for the whole blob, verified.
    package let range: Range<Int64>?

    /// Makes a waiter.
    ///
    /// - Parameters:
    ///   - identifier: unique within the table.
    ///   - range: bytes, nil for the whole blob, verified.
    package init(identifier: UInt64, range: Range<Int64>?) {
      self.identifier = identifier
      self.range = range
    }
  }

  /// Why a flight is under way.
  package enum Purpose: Sendable, Equatable {
    case demand
    case background
  }

  private struct Flight: Sendable {
    let purpose: Purpose
    /// Blocks it is to bring.
    var blocks: [Range<Int>]
  }

  /// In the order in which they came.
  package private(set) var waiters: [Waiter] = []
  private var flights: [UInt64: Flight] = [:]

  /// Makes an empty table.
  package init() {}

  /// Whether nobody waits and nothing is under way.
  package var isIdle: Bool { waiters.isEmpty && flights.isEmpty }

  /// How many flights serve a purpose.
  ///
  /// - Parameter purpose: which.
  /// - Returns: what was asked for.
  package func flightCount(_ purpose: Purpose) -> Int { flights.values.count { $0.purpose == purpose } }

  /// Adds somebody who waits.
  ///
  /// - Parameter waiter: last in order.
  package mutating func enqueue(_ waiter: Waiter) { waiters.append(waiter) }

  /// The parts of missing runs that no flight brings.
  ///
  /// - Parameter missing: runs of blocks, in order.
  /// - Returns: all of them, in order.
  package func uncovered(_ missing: [Range<Int>]) -> [Range<Int>] {
    var result = missing
    for flight in flights.values {
      for taken in flight.blocks {
        result = result.flatMap { Self.subtract(taken, from: $0) }
      }
    }
    return result
  }

  /// Notes that a flight brings blocks; more may be added to it later.
  ///
  /// - Parameters:
  ///   - flight: its identifier.
  ///   - purpose: why.
  ///   - blocks: a run that nobody else brings.
  package mutating func begin(_ flight: UInt64, _ purpose: Purpose, _ blocks: Range<Int>) {
    flights[flight, default: Flight(purpose: purpose, blocks: [])].blocks.append(blocks)
  }

  /// Ends a flight.
  ///
  /// - Parameter flight: its identifier.
  /// - Returns: every run that it was to bring.
  package mutating func end(_ flight: UInt64) -> [Range<Int>] {
    flights.removeValue(forKey: flight)?.blocks ?? []
  }

  /// Takes a run out of a flight: somebody else brings it.
  ///
  /// - Parameters:
  ///   - run: as it was added.
  ///   - flight: its identifier.
  package mutating func giveBack(_ run: Range<Int>, of flight: UInt64) {
    flights[flight]?.blocks.removeAll { $0 == run }
  }

  /// The runs a flight is to bring.
  ///
  /// - Parameter flight: its identifier.
  /// - Returns: all of them, in order.
  package func blocks(of flight: UInt64) -> [Range<Int>] { flights[flight]?.blocks ?? [] }

  /// Takes those out who wait for nothing any more.
  ///
  /// - Parameter isReady: whether what somebody waits for is there.
  /// - Returns: in the order in which they came.
  package mutating func takeReady(_ isReady: (Waiter) -> Bool) -> [Waiter] {
    let ready = waiters.filter(isReady)
    if !ready.isEmpty { waiters.removeAll { waiter in ready.contains(waiter) } }
    return ready
  }

  /// Takes somebody out.
  ///
  /// - Parameter identifier: who.
  package mutating func remove(_ identifier: UInt64) {
    waiters.removeAll { $0.identifier == identifier }
  }

  private static func subtract(_ taken: Range<Int>, from run: Range<Int>) -> [Range<Int>] {
    guard taken.overlaps(run) else { return [run] }
    var parts: [Range<Int>] = []
    if run.lowerBound < taken.lowerBound { parts.append(run.lowerBound..<taken.lowerBound) }
    if taken.upperBound < run.upperBound { parts.append(taken.upperBound..<run.upperBound) }
    return parts
  }
}
