/// Which requests are sent now, and which wait: of all blobs, for each host.
///
/// Pure: time is given by the caller.
///
/// What a reader waits for goes first and waits for nobody but too many of its kind. Then what readers will want next,
/// then profiles, then the background, each within the host's limit; the last two only while no reader waits. Among
/// blobs of one kind the one with the fewest requests under way is next, so that no reader starves another.
package struct FlightQueue: Sendable {
  /// What a request is for, the most urgent first.
  package enum Purpose: Int, Sendable, Comparable, CaseIterable {
    /// Somebody waits for its first bytes.
    case demand
    /// Ahead of a reader, or of somebody who waits for the whole blob.
    case window
    /// What an earlier start read next.
    case profile
    /// To complete the blob.
    case background

    /// Whether nobody will miss it soon.
    package var canWait: Bool { self >= .profile }

    package static func < (left: Purpose, right: Purpose) -> Bool { left.rawValue < right.rawValue }
  }

  /// A request to be sent.
  package struct Flight: Sendable, Equatable {
    package let identifier: UInt64
    /// The host.
    package let link: String
    package let blob: UInt64
    package var purpose: Purpose

    /// Describes a request.
    ///
    /// - Parameters:
    ///   - identifier: unique in the queue.
    ///   - link: the host.
    ///   - blob: whose bytes it brings.
    ///   - purpose: what it is for.
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
    /// Nearly done: they take no part of the limit any more.
    var ending: Set<UInt64> = []
    /// In the order in which they came.
    var waiting: [Flight] = []
    /// When each blob's turn was, by a count of turns.
    var turns: [UInt64: UInt64] = [:]
    var lastProgress: ContinuousClock.Instant?
    /// It answered a range with that range (206).
    ///
    /// Before that a blob has one request at a time, as two streams of a whole blob would fetch it twice.
    var isProven = false
  }

  /// The most of one host that readers wait for; libcurl has as many connections to one host and some more.
  static let mostDemands = 24
  /// The most of all hosts that nobody waits for.
  static let mostAhead = 48

  private var links: [String: Link] = [:]
  private var places: [UInt64: String] = [:]
  private var turn: UInt64 = 0

  /// An empty queue.
  package init() {}

  /// Adds a request.
  ///
  /// - Parameter flight: starts when `next` names it.
  package mutating func enqueue(_ flight: Flight) {
    links[flight.link, default: Link()].waiting.append(flight)
    places[flight.identifier] = flight.link
  }

  /// Names the requests to be sent now.
  ///
  /// - Returns: their identifiers, the most urgent first; they run from now on.
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

  /// Ends a request, or takes one out that was not sent.
  ///
  /// - Parameter identifier: of the request.
  package mutating func finish(_ identifier: UInt64) {
    guard let name = places.removeValue(forKey: identifier), var link = links[name] else { return }
    if link.ending.remove(identifier) == nil, link.running.removeValue(forKey: identifier) == nil {
      link.waiting.removeAll { $0.identifier == identifier }
    }
    if link.running.isEmpty, link.waiting.isEmpty { link.turns = [:] }
    links[name] = link
  }

  /// Lets the next request start: this one has little left.
  ///
  /// - Parameter identifier: of a request that runs.
  package mutating func release(_ identifier: UInt64) {
    guard let name = places[identifier], links[name]?.running.removeValue(forKey: identifier) != nil else {
      return
    }
    links[name]?.ending.insert(identifier)
  }

  /// Makes a request more urgent: somebody waits for it now.
  ///
  /// - Parameters:
  ///   - identifier: of the request.
  ///   - purpose: what it is for from now on.
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

  /// Takes the arrival of bytes.
  ///
  /// - Parameters:
  ///   - count: how many.
  ///   - link: the host that sent them.
  ///   - now: the time.
  package mutating func received(_ count: Int, from link: String, now: ContinuousClock.Instant) {
    guard var known = links[link] else { return }
    known.lastProgress = now
    // While readers jump the sum is small for other reasons than the limit.
    let isSaturated = known.running.count + known.ending.count >= known.limit.value
    known.limit.received(count, isSaturated: isSaturated, now: now)
    links[link] = known
  }

  /// Lets a blob have several requests at once: its host is known to answer ranges, or another process fetches what
  /// the first request waits for.
  ///
  /// - Parameter link: the host.
  package mutating func prove(_ link: String) { links[link, default: Link()].isProven = true }

  /// Lets a blob have one request at a time: its host answered a range with a whole blob.
  ///
  /// - Parameter link: the host.
  package mutating func disprove(_ link: String) { links[link]?.isProven = false }

  /// Takes a host's word that it was asked too much.
  ///
  /// - Parameters:
  ///   - link: the host.
  ///   - now: the time.
  package mutating func throttled(_ link: String, now: ContinuousClock.Instant) {
    links[link]?.limit.throttled(now: now)
  }

  /// Takes the time until the first byte of a request.
  ///
  /// - Parameters:
  ///   - time: since it was sent.
  ///   - link: the host.
  ///   - now: the time.
  package mutating func firstByte(after time: Duration, from link: String, now: ContinuousClock.Instant) {
    links[link]?.limit.firstByte(after: time, now: now)
  }

  /// What is known of a host.
  ///
  /// - Parameter link: the host.
  /// - Returns: the limit of one that was never asked, where it was not.
  package func limit(of link: String) -> ParallelLimit { links[link]?.limit ?? ParallelLimit() }

  /// When a host last sent something.
  ///
  /// - Parameter link: the host.
  /// - Returns: nil where it never did.
  package func lastProgress(of link: String) -> ContinuousClock.Instant? { links[link]?.lastProgress }

  /// How many blobs have requests of some kind.
  package var blobCount: Int {
    Set(links.values.flatMap { $0.running.values.map(\.blob) + $0.waiting.map(\.blob) }).count
  }

  /// Whether nothing runs and nothing waits.
  package var isIdle: Bool {
    links.values.allSatisfy { $0.running.isEmpty && $0.ending.isEmpty && $0.waiting.isEmpty }
  }
}
