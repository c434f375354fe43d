import Content
import HTTP
import Logging
import OCI
import Locking

/// Fetches one range of a blob into a sink: through redirects, new tokens, broken connections and hosts without ranges.
struct BlobTransfer: Sendable {
  let repository: RegistryRepository
  let descriptor: Descriptor
  let range: Range<Int64>
  let sink: any BlobSink

  /// What one request is sent with.
  private struct Plan {
    var position: Int64
    var authorization: Secret?
    /// The shortcut by a remembered address is taken until it fails.
    var usesShortcut = true
    var attempts = TransferAttempts()
    var authorizer = Authorizer()
    var attempt = 1
    /// Answers that brought next to nothing, one after another.
    var tinyAnswers = 0
    /// When it first failed since the last progress.
    var failing: ContinuousClock.Instant?
    /// The tag under which a manifest is asked for that its registry does not find by digest, and that answer.
    var tag: (name: String, problem: ContentError)?
  }

  // Answers below this size are progress, but not without end.
  private static let tinyAnswer: Int64 = 4 << 10
  private static let mostTinyAnswers = 16

  private var client: RegistryClient { repository.client }
  private var subject: String { "\(repository.name)@\(descriptor.digest)" }
  private var isDocument: Bool { descriptor.mediaType.isManifest || descriptor.mediaType.isIndex }
  private var patience: RetryPolicy.Patience { isDocument ? .lookUp : sink.canWait ? .background : .read }

  /// Runs until every byte of the range was delivered or the sink wants no more.
  func run() async throws(ContentError) {
    var plan = Plan(position: range.lowerBound)
    plan.authorization = await client.tokens.current(repository.tokenKey)?.header
    while plan.position < range.upperBound {
      let direct = plan.usesShortcut ? client.hosts.redirect(of: descriptor.digest, in: repository.name) : nil
      let request = try request(plan, direct)
      let receiver = BlobReceiver(
        wanted: plan.position..<range.upperBound,
        descriptor: descriptor,
        sink: sink
      )
      let error = await send(request, to: receiver)
      let result = receiver.result
      let before = plan.position
      noteProgress(result, &plan)
      if result.sinkIsDone || plan.position >= range.upperBound {
        remember(result.response, request, direct)
        return
      }
      if let response = result.response, repository.changesScheme(after: response, of: request) { continue }
      if let lie = result.lie {
        // A tag that has moved leads to another manifest: this one is still not found.
        guard let direct else { throw plan.tag?.problem ?? contradiction(lie, result) }
        client.hosts.forget(direct.url, of: descriptor.digest, in: repository.name, isRefused: true)
        plan.usesShortcut = false
        continue
      }
      if let response = result.response, !(200..<300).contains(response.status) {
        try await handle(response, result.excerpt, request, direct, &plan)
      } else if let error {
        try await handle(error, request, direct, &plan)
      } else if plan.position == before || plan.tinyAnswers > Self.mostTinyAnswers {
        try await wait(nil, unexplained, &plan)
      }
      // A whole answer that is shorter than what was asked for is progress: the next request goes out at once.
    }
  }

  private func noteProgress(_ result: BlobReceiver.Result, _ plan: inout Plan) {
    guard result.reached > plan.position else { return }
    plan.tinyAnswers = result.reached - plan.position < Self.tinyAnswer ? plan.tinyAnswers + 1 : 0
    plan.position = result.reached
    guard plan.tinyAnswers <= Self.mostTinyAnswers else { return }
    plan.attempt = 1
    plan.failing = nil
    plan.attempts.progressed()
    plan.authorizer = Authorizer()
  }

  // MARK: What went wrong

  private func handle(
    _ response: HTTPResponse,
    _ excerpt: [UInt8],
    _ request: HTTPRequest,
    _ direct: HostMemory.Redirect?,
    _ plan: inout Plan
  ) async throws(ContentError) {
    let source: TransferAttempts.Source =
      if direct != nil {
        .remembered
      } else if response.url == request.url {
        .registry
      } else {
        .redirect(isSameOrigin: response.url.hasSameOrigin(as: request.url))
      }
    let problem = problem(response, excerpt, source)
    if response.status == 429 || response.status == 503 { sink.note(.throttled) }
    switch plan.attempts.handle(
      response.status,
      from: source,
      sent: request.authorization,
      isDocument: isDocument,
      isChallenge: response.header("www-authenticate") != nil
    ) {
    case .askRegistry:
      if let direct {
        client.hosts.forget(direct.url, of: descriptor.digest, in: repository.name, isRefused: true)
      }
      plan.usesShortcut = false
    case .withoutAuthorization, .withReferer: break
    case .authorize:
      switch try await repository.authorize(response, sent: plan.authorization, &plan.authorizer) {
      case .send(let header): plan.authorization = header
      case .giveUp:
        guard case .redirect = source else { throw problem }
        // A redirect's target has remedies of its own; this one is not tried again.
        try await handle(response, excerpt, request, direct, &plan)
      }
    case .askManifest: try await askManifests(problem)
    case .wait:
      if direct != nil, response.status >= 500 { plan.usesShortcut = false }
      try await wait(response.retryAfter(now: WallClock.seconds), problem, &plan)
    case .fail:
      guard isDocument, response.status == 404, plan.tag == nil,
        let tag = client.hosts.tag(of: descriptor.digest, in: repository.name)
      else { throw problem }
      // The digest of what comes is compared by the caller, as always.
      plan.tag = (tag, problem)
    }
  }

  private func handle(
    _ error: HTTPError,
    _ request: HTTPRequest,
    _ direct: HostMemory.Redirect?,
    _ plan: inout Plan
  ) async throws(ContentError) {
    if let direct {
      plan.usesShortcut = false
      client.hosts.forget(direct.url, of: descriptor.digest, in: repository.name, isRefused: false)
    }
    if repository.changesScheme(after: error, of: request) { return }
    let problem = repository.failure(error, subject: subject)
    guard error.isTransient else { throw problem }
    try await wait(nil, problem, &plan)
  }

  private func wait(
    _ retryAfter: Duration?,
    _ problem: ContentError,
    _ plan: inout Plan
  ) async throws(ContentError) {
    let now = ContinuousClock.now
    let elapsed = now - (plan.failing ?? now)
    plan.failing = plan.failing ?? now
    guard let delay = repository.nextDelay(plan.attempt, elapsed, patience, retryAfter) else { throw problem }
    client.log.debug(
      "a fetch is tried again",
      metadata: ["blob": "\(descriptor.digest)", "at": "\(plan.position)", "reason": "\(problem)"]
    )
    try await repository.pause(delay)
    plan.attempt += 1
  }

  /// Asks for the manifests that were fetched last, so that a cache in front of another registry fetches their blobs.
  private func askManifests(_ problem: ContentError) async throws(ContentError) {
    let digests = client.hosts.manifests(of: repository.name)
    guard !digests.isEmpty else { throw problem }
    for digest in digests {
      // What it answers does not matter here: the blob is asked for once more in any case.
      _ = try? await repository.send(
        .get,
        "manifests/\(digest)",
        accept: MediaType.manifests,
        limit: Int(ManifestDocument.maximumSize)
      )
    }
  }

  private var unexplained: ContentError {
    ContentError(
      .unreachable,
      subject,
      host: repository.name.registry,
      "the response ended before the bytes that were asked for"
    )
  }

  private func contradiction(_ lie: String, _ result: BlobReceiver.Result) -> ContentError {
    let host = result.response?.url.endpoint ?? repository.name.registry
    return ContentError(
      .corrupt,
      subject,
      host: host,
      "\(host) answered with \(lie)\(quote(result.response, result.excerpt))",
      advice: "Something between here and the registry changes responses, or the registry is damaged"
    )
  }

  private func problem(
    _ response: HTTPResponse,
    _ excerpt: [UInt8],
    _ source: TransferAttempts.Source
  ) -> ContentError {
    guard source != .registry, [401, 403].contains(response.status) else {
      return repository.failure(response, subject: subject)
    }
    return ContentError(
      .unauthorized,
      subject,
      host: response.url.endpoint,
      "the storage host \(response.url.endpoint) refused (status \(response.status))\(quote(response, excerpt))",
      advice: "The registry \(repository.name.registry) redirected there; tell its operator"
    )
  }

  /// What a text says, for a message; nothing of a host in a private network that a registry elsewhere redirected to.
  private func quote(_ response: HTTPResponse?, _ excerpt: [UInt8]) -> String {
    guard let response, !excerpt.isEmpty else { return "" }
    if response.peer == .privateNetwork, response.url.host != repository.host { return "" }
    let type = response.header("content-type")?.lowercased() ?? "text/plain"
    guard
      ["text/", "application/json", "application/xml", "application/problem"].contains(where: type.hasPrefix)
    else { return "" }
    return ": \"\(ForeignText.excerpt(excerpt))\""
  }

  // MARK: Requests

  private func request(
    _ plan: Plan,
    _ direct: HostMemory.Redirect?
  ) throws(ContentError) -> HTTPRequest {
    let place =
      plan.tag.map { "manifests/\($0.name)" } ?? "\(isDocument ? "manifests" : "blobs")/\(descriptor.digest)"
    let home = try repository.address(place)
    let url = direct?.url ?? home
    var request = HTTPRequest(.get, url)
    repository.prepare(&request)
    request.usesNewConnection = sink.wantsNewConnection
    request.addressRule = direct?.rule
    if isDocument {
      request.headers.append(("Accept", MediaType.manifests.map(\.rawValue).joined(separator: ", ")))
      request.totalTimeout = client.configuration.stallTimeout * 2
    }
    if url.hasSameOrigin(as: home) { request.authorization = plan.authorization }
    request.dropsAuthorization = plan.attempts.isWithoutAuthorization
    if plan.attempts.hasReferer { request.redirectReferer = home.withoutQuery }
    if plan.position > 0 || range.upperBound < descriptor.size {
      request.range = plan.position..<range.upperBound
    }
    return request
  }

  private func remember(_ response: HTTPResponse?, _ request: HTTPRequest, _ direct: HostMemory.Redirect?) {
    guard let response, response.url != request.url, direct == nil else { return }
    client.hosts.remember(response.url, response.rule, of: descriptor.digest, in: repository.name)
  }

  private func send(_ request: HTTPRequest, to receiver: BlobReceiver) async -> HTTPError? {
    let thread = client.thread
    let identifier = Mutex<UInt64?>(nil)
    let start = ContinuousClock.now
    let error = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        receiver.setContinuation(continuation)
        let started = thread.start(request, receiver: receiver)
        identifier.withLock { $0 = started }
        if Task.isCancelled { thread.cancel(started) }
      }
    } onCancel: {
      if let identifier = identifier.withLock({ $0 }) { thread.cancel(identifier) }
    }
    let result = receiver.result
    client.logRequest(request, result.response, Int(result.received), start, error)
    guard request.range != nil, result.lie == nil else { return error }
    if result.response?.status == 206 { client.hosts.noteRanges(repository.name) }
    if result.response?.status == 200, client.hosts.noteWithoutRanges(repository.name) {
      client.log.notice(
        "the host does not serve ranges: blobs are streamed from their start",
        metadata: ["host": "\(result.response?.url.endpoint ?? request.url.endpoint)"]
      )
    }
    return error
  }
}
