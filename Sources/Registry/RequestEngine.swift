import Content
import HTTP
import Logging
import OCI
import Telemetry

/// Runs one exchange with a registry to its end: the only loop for retries, authorization, redirect remedies,
/// the scheme of a registry on this machine, and deadlines.
///
/// An `Exchange` holds the differences between a small document, a range of a blob and a token: the next
/// request, the receipt of its response, and the meaning of its end. The engine owns all state of the
/// attempts; progress resets it.
struct RequestEngine: Sendable {
  let repository: RegistryRepository
  /// Determines how long requests to a failing endpoint are repeated.
  let patience: RetryPolicy.Patience

  /// The header of the next request to the registry; nil for none.
  private var authorization: Secret?
  private var attempts = TransferAttempts()
  private var authorizer = Authorizer()
  /// The number of the current attempt since the last progress, starting at 1.
  private var attempt = 1
  /// The time of the first failure since the last progress.
  private var failing: ContinuousClock.Instant?
  /// The error of a 403 for a credential; it takes precedence over later refusals of other headers.
  private var refusal: ContentError?

  private var client: RegistryClient { repository.client }

  init(_ repository: RegistryRepository, patience: RetryPolicy.Patience) {
    self.repository = repository
    self.patience = patience
  }

  /// Runs an exchange to its end.
  ///
  /// - Parameter exchange: Supplies the requests.
  /// - Throws: `ContentError`, as the exchange maps the last response or failure.
  mutating func run(_ exchange: inout some Exchange) async throws(ContentError) {
    if try exchange.home != nil {
      authorization = await client.tokens.current(repository.tokenKey)?.header
    }
    while var request = try exchange.next() {
      repository.prepare(&request)
      if exchange.isDocument { request.totalTimeout = client.configuration.stallTimeout * 2 }
      if let home = try exchange.home { decorate(&request, for: home) }
      let (outcome, isProgress) = await exchange.send(request)
      if isProgress { progressed() }
      switch outcome {
      case .delivered(let response): repository.noteScheme(response, of: request)
      case .nothing(let problem): try await wait(nil, problem)
      case .contradiction(let problem):
        guard exchange.dropShortcut(.refused) else { throw problem }
      case .answered(let response, let excerpt, let origin):
        if repository.changesScheme(after: response, of: request) { continue }
        try await handle(response, excerpt, origin, request, &exchange)
      case .failed(let error):
        exchange.dropShortcut(.failed)
        if repository.changesScheme(after: error, of: request) { continue }
        let problem = exchange.problem(error)
        guard error.isTransient else { throw problem }
        try await wait(nil, problem)
      }
    }
  }

  private mutating func progressed() {
    attempt = 1
    failing = nil
    attempts.progressed()
    authorizer = Authorizer()
    refusal = nil
  }

  private func decorate(_ request: inout HTTPRequest, for home: RequestURL) {
    if request.url.hasSameOrigin(as: home) { request.authorization = authorization }
    request.dropsAuthorization = attempts.isWithoutAuthorization
    if attempts.hasReferer { request.redirectReferer = home.withoutQuery }
  }

  private mutating func handle(
    _ response: HTTPResponse,
    _ excerpt: [UInt8],
    _ origin: TransferAttempts.Source,
    _ request: HTTPRequest,
    _ exchange: inout some Exchange
  ) async throws(ContentError) {
    let problem = exchange.problem(response, excerpt)
    switch attempts.handle(
      response.status,
      from: origin,
      sent: request.authorization,
      isDocument: exchange.isDocument,
      isChallenge: response.header("www-authenticate") != nil
    ) {
    case .askRegistry: exchange.dropShortcut(.refused)
    case .withoutAuthorization, .withReferer: break
    case .authorize:
      if response.status == 403 { refusal = problem }
      switch try await repository.authorize(response, sent: authorization, &authorizer) {
      case .send(let header): authorization = header
      case .giveUp:
        guard case .redirect = origin else { return try exchange.end(response, refusal ?? problem) }
        // The target of a redirect has further remedies; authorization is not tried again.
        try await handle(response, excerpt, origin, request, &exchange)
      }
    case .askManifest: try await repository.askManifests(problem)
    case .wait:
      if response.status >= 500 { exchange.dropShortcut(.unavailable) }
      try await wait(response.retryAfter(now: WallClock.seconds), problem)
    case .fail: try exchange.end(response, problem)
    }
  }

  /// Waits before the next attempt.
  ///
  /// - Throws: The problem if the time for attempts is over.
  private mutating func wait(_ retryAfter: Duration?, _ problem: ContentError) async throws(ContentError) {
    let now = ContinuousClock.now
    let elapsed = now - (failing ?? now)
    failing = failing ?? now
    let delay = client.configuration.retry.delay(
      afterAttempt: attempt,
      elapsed: elapsed,
      patience: patience,
      retryAfter: retryAfter,
      random: Double.random(in: 0...1)
    )
    guard let delay else { throw problem }
    client.thread.metrics.retries.add([problem.host ?? repository.name.registry, "\(problem.code)"])
    client.log.debug("a request is sent again", metadata: ["reason": "\(problem)", "delay": "\(delay)"])
    do {
      try await Task.sleep(for: delay)
    } catch {
      throw ContentError(.cancelled, problem.subject, host: problem.host, "cancelled", underlying: problem)
    }
    attempt += 1
  }
}

/// An exchange that a `RequestEngine` runs: its requests, the receipt of responses, and the meaning of its
/// end.
protocol Exchange: Sendable {
  /// The requested object for errors, such as a reference or a digest.
  var subject: String { get }
  var repository: RegistryRepository { get }
  /// Whether the object is a manifest or another small document, not a blob.
  var isDocument: Bool { get }
  /// The registry's own address of the object, whose origin gets the registry's Authorization header; nil for
  /// a token, which is requested without it.
  var home: RequestURL? { get throws(ContentError) }

  /// Returns the next request, or nil if the exchange is complete.
  mutating func next() throws(ContentError) -> HTTPRequest?
  /// Sends a request and receives its response.
  ///
  /// - Returns: The outcome, and whether wanted bytes arrived; if so, the count of failures starts again.
  mutating func send(_ request: HTTPRequest) async -> (outcome: ExchangeOutcome, isProgress: Bool)
  /// Stops using an address that was remembered from an earlier redirect.
  ///
  /// - Parameter fault: The reason.
  /// - Returns: Whether the last request went to such an address.
  @discardableResult
  mutating func dropShortcut(_ fault: ShortcutFault) -> Bool
  /// Handles a response that has no remedy left; returns if the exchange can continue or is complete.
  mutating func end(_ response: HTTPResponse, _ problem: ContentError) throws(ContentError)
  /// Returns the error for an unsuccessful response.
  func problem(_ response: HTTPResponse, _ excerpt: [UInt8]) -> ContentError
  /// Returns the error for a failed request.
  func problem(_ error: HTTPError) -> ContentError
}

/// The outcome of one request of an exchange.
enum ExchangeOutcome: Sendable {
  /// A success; the exchange determines whether another request is due.
  case delivered(HTTPResponse)
  /// A success that delivered too few bytes to continue at once.
  case nothing(ContentError)
  /// A success that contradicts itself or the manifest.
  case contradiction(ContentError)
  /// An unsuccessful status, with the first bytes of the body.
  case answered(HTTPResponse, excerpt: [UInt8], from: TransferAttempts.Source)
  case failed(HTTPError)
}

/// The reason why a remembered address is not used again.
enum ShortcutFault: Sendable {
  /// The address answered 5xx: this exchange avoids it.
  case unavailable
  /// The address did not answer: it is forgotten.
  case failed
  /// The address refused or sent wrong bytes: it is forgotten, and its endpoint may refuse replays.
  case refused
}

extension Exchange {
  mutating func dropShortcut(_ fault: ShortcutFault) -> Bool { false }

  func problem(_ response: HTTPResponse, _ excerpt: [UInt8]) -> ContentError {
    repository.failure(response, excerpt, subject: subject)
  }

  func problem(_ error: HTTPError) -> ContentError { repository.failure(error, subject: subject) }

  /// Returns the host that answered a request, as `TransferAttempts` distinguishes hosts.
  func origin(of response: HTTPResponse, _ request: HTTPRequest) -> TransferAttempts.Source {
    if response.url == request.url { return .registry }
    return .redirect(isSameOrigin: response.url.hasSameOrigin(as: request.url))
  }
}
