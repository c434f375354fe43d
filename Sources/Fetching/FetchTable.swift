/// Which bytes of a blob are under way, by which requests.
///
/// Pure: which blocks are there is asked of the caller.
package struct FetchTable: Sendable {
  package typealias Purpose = FlightQueue.Purpose

  private struct Flight: Sendable {
    var purpose: Purpose
    /// Blocks it is to bring.
    var blocks: [Range<Int>]
    /// Its request was sent; before that others may take blocks from it.
    var isStarted = false
    /// It is about to end: it is not cut any more.
    var isEnding = false
  }

  private var flights: [UInt64: Flight] = [:]

  /// Makes an empty table.
  package init() {}

  /// Whether nothing is under way.
  package var isIdle: Bool { flights.isEmpty }

  /// Whether some of these blocks are to be brought by a request that was not sent yet.
  ///
  /// - Parameter blocks: in order.
  package func isWaiting(_ blocks: Range<Int>) -> Bool {
    flights.values.contains { flight in !flight.isStarted && flight.blocks.contains { $0.overlaps(blocks) } }
  }

  /// Takes blocks out of every flight that was started: they came, were thrown away, and are asked for anew.
  ///
  /// - Parameter blocks: that no flight has a claim on.
  package mutating func relinquish(_ blocks: Range<Int>) {
    for (identifier, flight) in flights where flight.isStarted {
      flights[identifier]?.blocks = flight.blocks.flatMap { Self.subtract(blocks, from: $0) }
    }
  }

  /// Whether a request was sent.
  package var hasStartedFlights: Bool { flights.values.contains { $0.isStarted } }

  /// How many flights are that urgent or less.
  ///
  /// - Parameter purpose: the most urgent that counts.
  /// - Returns: waiting ones too.
  package func flightCount(from purpose: Purpose) -> Int { flights.values.count { $0.purpose >= purpose } }

  /// The parts of missing runs that no flight brings.
  ///
  /// - Parameter missing: runs of blocks, in order.
  package func uncovered(_ missing: [Range<Int>]) -> [Range<Int>] {
    var result = missing
    for flight in flights.values {
      for taken in flight.blocks {
        result = result.flatMap { Self.subtract(taken, from: $0) }
      }
    }
    return result
  }

  /// The first run of missing blocks that no flight brings.
  ///
  /// - Parameters:
  ///   - start: where to begin.
  ///   - limit: of the run, blocks.
  ///   - nextMissing: gives the next run of missing blocks at or behind a block, up to a length.
  /// - Returns: nil where there is none.
  package func nextUncovered(
    from start: Int,
    limit: Int,
    _ nextMissing: (_ from: Int, _ limit: Int) -> Range<Int>?
  ) -> Range<Int>? {
    var position = start
    while let run = nextMissing(position, limit) {
      var end = run.upperBound
      var first = run.lowerBound
      var isMoved = true
      while isMoved {
        isMoved = false
        for flight in flights.values {
          for taken in flight.blocks where taken.contains(first) {
            first = taken.upperBound
            isMoved = true
          }
        }
      }
      if first >= end {
        position = first
        continue
      }
      for flight in flights.values {
        for taken in flight.blocks where taken.lowerBound > first { end = min(end, taken.lowerBound) }
      }
      return first..<end
    }
    return nil
  }

  /// Takes blocks away from flights that wait for their turn and are less urgent, then tells what no flight brings.
  ///
  /// - Parameters:
  ///   - missing: runs of blocks, in order.
  ///   - purpose: what they are wanted for.
  /// - Returns: the parts that no flight brings, in order.
  package mutating func take(_ missing: [Range<Int>], for purpose: Purpose) -> [Range<Int>] {
    for (identifier, flight) in flights where !flight.isStarted && flight.purpose > purpose {
      var blocks = flight.blocks
      for run in missing {
        blocks = blocks.flatMap { block in
          // A reader who has come to its window takes the rest of it along: one request in place of many small ones.
          let isOwnWindow = purpose == .demand && flight.purpose == .window && block.overlaps(run)
          let taken = isOwnWindow ? run.lowerBound..<max(run.upperBound, block.upperBound) : run
          return Self.subtract(taken, from: block)
        }
      }
      // One request is one range: what is left behind the first is planned anew.
      flights[identifier]?.blocks = Array(blocks.prefix(1))
    }
    return uncovered(missing)
  }

  /// Takes blocks away from every flight that waits for its turn, then tells what no flight brings.
  ///
  /// - Parameter missing: runs of blocks, in order.
  /// - Returns: the parts that no flight brings, in order.
  package mutating func takeWaiting(_ missing: [Range<Int>]) -> [Range<Int>] {
    for (identifier, flight) in flights where !flight.isStarted { flights[identifier]?.blocks = [] }
    return uncovered(missing)
  }

  /// Takes flights out that lost all they were to bring before their turn came.
  package mutating func removeEmpty() -> [UInt64] {
    let empty = flights.filter { !$0.value.isStarted && $0.value.blocks.isEmpty }.map(\.key)
    for identifier in empty { flights[identifier] = nil }
    return empty
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

  /// A flight's turn has come.
  ///
  /// - Parameter flight: its identifier.
  /// - Returns: what it is to bring; nil where others took it all.
  package mutating func start(_ flight: UInt64) -> Range<Int>? {
    flights[flight]?.isStarted = true
    return flights[flight]?.blocks.first
  }

  /// Flights that bring some of these blocks, and are under way.
  ///
  /// - Parameter blocks: in order.
  package func started(bringing blocks: [Range<Int>]) -> [UInt64] {
    flights.filter { flight in
      flight.value.isStarted
        && flight.value.blocks.contains { taken in blocks.contains { $0.overlaps(taken) } }
    }.map(\.key)
  }

  /// Makes waiting flights that bring some of these blocks more urgent.
  ///
  /// - Parameters:
  ///   - blocks: that somebody wants now.
  ///   - purpose: what for.
  /// - Returns: the identifiers of all flights that bring some, whatever they were for.
  package mutating func promote(bringing blocks: [Range<Int>], to purpose: Purpose) -> [UInt64] {
    var found: [UInt64] = []
    for (identifier, flight) in flights
    where flight.blocks.contains(where: { taken in blocks.contains { $0.overlaps(taken) } }) {
      if purpose < flight.purpose { flights[identifier]?.purpose = purpose }
      found.append(identifier)
    }
    return found
  }

  /// Shortens a flight.
  ///
  /// - Parameters:
  ///   - flight: its identifier.
  ///   - block: the first that it does not bring any more.
  /// - Returns: what it is relieved of.
  package mutating func truncate(_ flight: UInt64, at block: Int) -> [Range<Int>] {
    guard let blocks = flights[flight]?.blocks, flights[flight]?.isEnding == false else { return [] }
    flights[flight]?.blocks = blocks.compactMap { run in
      run.lowerBound < block ? run.lowerBound..<min(run.upperBound, block) : nil
    }
    return blocks.compactMap { $0.upperBound > block ? max($0.lowerBound, block)..<$0.upperBound : nil }
  }

  /// Notes that a flight is about to end, so that nobody takes blocks from it whose claims it gives back.
  ///
  /// - Parameter flight: its identifier.
  /// - Returns: every run that it was to bring.
  package mutating func prepareToEnd(_ flight: UInt64) -> [Range<Int>] {
    flights[flight]?.isEnding = true
    return flights[flight]?.blocks ?? []
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
  package func blocks(of flight: UInt64) -> [Range<Int>] { flights[flight]?.blocks ?? [] }

  private static func subtract(_ taken: Range<Int>, from run: Range<Int>) -> [Range<Int>] {
    guard taken.overlaps(run) else { return [run] }
    var parts: [Range<Int>] = []
    if run.lowerBound < taken.lowerBound { parts.append(run.lowerBound..<taken.lowerBound) }
    if taken.upperBound < run.upperBound { parts.append(taken.upperBound..<run.upperBound) }
    return parts
  }
}
