/// Determines which requests are sent now and which wait, for all blobs and by host.
///
/// Pure: the caller passes the time.
///
/// Requests that a reader waits for are sent first, up to a limit of their own. Windows ahead of readers
/// follow, then profiles, then the background, each within the host's limit; the last two only while no
/// reader waits. Among blobs of one purpose, the blob with the fewest requests in flight is next, so that no
/// reader starves another.
package struct FlightQueue: Sendable {
  /// The purpose of a request, the most urgent first.
  package enum Purpose: Int, Sendable, Comparable, CaseIterable {
    /// A reader waits for its first bytes.
    case demand
    /// The window ahead of a reader, or a command waits for the complete blob.
    case window
    /// The bytes that an earlier start read next.
    case profile
    /// The completion of the blob.
    case background

    /// Whether no reader will need the bytes soon.
    package var canWait: Bool { self >= .profile }

    package static func < (left: Purpose, right: Purpose) -> Bool { left.rawValue < right.rawValue }
  }

  /// A request to be sent.
  package struct Flight: Sendable, Equatable {
    package let identifier: UInt64
    /// The host, as `Repository.link`.
    package let link: String
    package let blob: UInt64
    package var purpose: Purpose

    /// Creates a request.
    ///
    /// - Parameters:
    ///   - identifier: A number that is unique in the queue.
    ///   - link: The host.
    ///   - blob: The number of the blob.
    ///   - purpose: The purpose of the request.
    package init(identifier: UInt64, link: String, blob: UInt64, purpose: Purpose) {
      self.identifier = identifier
      self.link = link
      self.blob = blob
      self.purpose = purpose
    }
  }

  private struct Link: Sendable {
    var limit = ParallelLimit()
    var running: [UInt64: Flight] = [:]
    /// The requests that are nearly done: they no longer count towards the limit.
    var ending: Set<UInt64> = []
    /// The waiting requests in the order of arrival.
    var waiting: [Flight] = []
    /// The number of the last turn of each blob.
    var turns: [UInt64: UInt64] = [:]
    var lastProgress: ContinuousClock.Instant?
    /// Whether the host answered a range request with that range (206).
    ///
    /// Before that, a blob has one request at a time, as two streams of a complete blob would fetch it twice.
    var isProven = false
  }

  /// The maximum number of requests to one host that readers wait for; libcurl allows slightly more
  /// connections to one host.
  static let mostDemands = 24
  /// The maximum number of requests to all hosts that no reader waits for.
  static let mostAhead = 48

  private var links: [String: Link] = [:]
  private var places: [UInt64: String] = [:]
  private var turn: UInt64 = 0

  /// Creates an empty queue.
  package init() {}

  /// Adds a request.
  ///
  /// - Parameter flight: The request; it is sent when `next` returns it.
  package mutating func enqueue(_ flight: Flight) {
    links[flight.link, default: Link()].waiting.append(flight)
    places[flight.identifier] = flight.link
  }

  /// Returns the requests to be sent now, and marks them as running.
  ///
  /// - Returns: Their identifiers; for each host, the most urgent first.
  package mutating func next() -> [UInt64] {
    var started: [UInt64] = []
    var ahead = links.values.reduce(0) { $0 + $1.running.values.count { $0.purpose != .demand } }
    for name in links.keys.sorted() {
      guard var link = links[name], !link.waiting.isEmpty else { continue }
      while let index = candidate(link, ahead: ahead) {
        let flight = link.waiting.remove(at: index)
        turn += 1
        link.turns[flight.blob] = turn
        link.running[flight.identifier] = flight
        if flight.purpose != .demand { ahead += 1 }
        started.append(flight.identifier)
      }
      links[name] = link
    }
    return started
  }

  private func candidate(_ link: Link, ahead: Int) -> Int? {
    guard let best = link.waiting.map(\.purpose).min() else { return nil }
    let demands = link.running.values.count { $0.purpose == .demand }
    switch best {
    case .demand: guard demands < Self.mostDemands else { return nil }
    case .window: guard link.running.count < link.limit.value, ahead < Self.mostAhead else { return nil }
    case .profile, .background:
      guard demands == 0, link.running.count < link.limit.value, ahead < Self.mostAhead else { return nil }
    }
    var counts: [UInt64: Int] = [:]
    for flight in link.running.values { counts[flight.blob, default: 0] += 1 }
    func order(_ flight: Flight) -> (Int, UInt64) { (counts[flight.blob] ?? 0, link.turns[flight.blob] ?? 0) }
    var chosen: Int?
    for (index, flight) in link.waiting.enumerated() where flight.purpose == best {
      guard link.isProven || (counts[flight.blob] ?? 0) == 0 else { continue }
      if let known = chosen, order(link.waiting[known]) <= order(flight) { continue }
      chosen = index
    }
    return chosen
  }

  /// Ends a request, or removes one that was not sent.
  ///
  /// - Parameter identifier: The identifier of the request.
  package mutating func finish(_ identifier: UInt64) {
    guard let name = places.removeValue(forKey: identifier), var link = links[name] else { return }
    if link.ending.remove(identifier) == nil, link.running.removeValue(forKey: identifier) == nil {
      link.waiting.removeAll { $0.identifier == identifier }
    }
    if link.running.isEmpty, link.waiting.isEmpty { link.turns = [:] }
    links[name] = link
  }

  /// Lets the next request start: this one has few bytes left.
  ///
  /// - Parameter identifier: The identifier of a running request.
  package mutating func release(_ identifier: UInt64) {
    guard let name = places[identifier], links[name]?.running.removeValue(forKey: identifier) != nil else {
      return
    }
    links[name]?.ending.insert(identifier)
  }

  /// Makes a request more urgent, as a reader now waits for it.
  ///
  /// - Parameters:
  ///   - identifier: The identifier of the request.
  ///   - purpose: The new purpose.
  package mutating func promote(_ identifier: UInt64, to purpose: Purpose) {
    guard let name = places[identifier] else { return }
    if let flight = links[name]?.running[identifier], purpose < flight.purpose {
      links[name]?.running[identifier]?.purpose = purpose
    } else if let index = links[name]?.waiting.firstIndex(where: { $0.identifier == identifier }),
      let flight = links[name]?.waiting[index], purpose < flight.purpose
    {
      links[name]?.waiting[index].purpose = purpose
    }
  }

  /// Records the arrival of bytes.
  ///
  /// - Parameters:
  ///   - count: The number of bytes.
  ///   - link: The host that sent them.
  ///   - now: The current time.
  package mutating func received(_ count: Int, from link: String, now: ContinuousClock.Instant) {
    guard var known = links[link] else { return }
    known.lastProgress = now
    // While readers jump, the total rate is small for reasons other than the limit.
    let isSaturated = known.running.count + known.ending.count >= known.limit.value
    known.limit.received(count, isSaturated: isSaturated, now: now)
    links[link] = known
  }

  /// Allows several concurrent requests per blob: the host answers ranges, or another process fetches the
  /// blocks that the first request waits for.
  ///
  /// - Parameter link: The host.
  package mutating func prove(_ link: String) { links[link, default: Link()].isProven = true }

  /// Allows one request at a time per blob: the host answered a range with a complete blob.
  ///
  /// - Parameter link: The host.
  package mutating func disprove(_ link: String) { links[link]?.isProven = false }

  /// Reduces the limit of a host that reported too many requests.
  ///
  /// - Parameters:
  ///   - link: The host.
  ///   - now: The current time.
  package mutating func throttled(_ link: String, now: ContinuousClock.Instant) {
    links[link]?.limit.throttled(now: now)
  }

  /// Records the time until the first byte of a request.
  ///
  /// - Parameters:
  ///   - time: The time since the request was sent.
  ///   - link: The host.
  ///   - now: The current time.
  package mutating func firstByte(after time: Duration, from link: String, now: ContinuousClock.Instant) {
    links[link]?.limit.firstByte(after: time, now: now)
  }

  /// Returns the limit of a host, or the initial limit if no request was sent to it.
  ///
  /// - Parameter link: The host.
  package func limit(of link: String) -> ParallelLimit { links[link]?.limit ?? ParallelLimit() }

  /// Returns the time at which a host last sent bytes, or nil if it never did.
  ///
  /// - Parameter link: The host.
  package func lastProgress(of link: String) -> ContinuousClock.Instant? { links[link]?.lastProgress }

  /// The number of blobs with running or waiting requests.
  package var blobCount: Int {
    Set(links.values.flatMap { $0.running.values.map(\.blob) + $0.waiting.map(\.blob) }).count
  }

  /// Whether no request is running or waiting.
  package var isIdle: Bool {
    links.values.allSatisfy { $0.running.isEmpty && $0.ending.isEmpty && $0.waiting.isEmpty }
  }
}
