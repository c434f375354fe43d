import Content
import HTTP
import Locking
import Logging
import OCI

/// Fetches one range of a blob or manifest into a sink, with as many requests as that takes.
///
/// Remembers the target of the registry's redirect, continues after an interrupted response, and requests a
/// manifest by its tag if the registry does not find it by digest.
struct BlobExchange: Exchange {
  let repository: RegistryRepository
  let descriptor: Descriptor
  let range: Range<Int64>
  let sink: any BlobSink

  /// The end of the delivered prefix of the range; every byte before it was delivered.
  private var position: Int64
  private var isComplete = false
  /// Whether a remembered address is used; false after it has failed.
  private var usesShortcut = true
  /// The remembered address of the last request; nil if the request went to the registry.
  private var shortcut: HostMemory.Redirect?
  /// The number of consecutive responses that delivered almost no bytes.
  private var tinyAnswers = 0
  /// The tag that a manifest is requested by, and the error of the request by digest.
  private var tag: (name: String, problem: ContentError)?

  // Responses below this size count as progress only a limited number of times.
  private static let tinyAnswer: Int64 = 4 << 10
  private static let mostTinyAnswers = 16

  init(
    repository: RegistryRepository,
    descriptor: Descriptor,
    range: Range<Int64>,
    sink: any BlobSink
  ) {
    self.repository = repository
    self.descriptor = descriptor
    self.range = range
    self.sink = sink
    position = range.lowerBound
  }

  var subject: String { "\(repository.name)@\(descriptor.digest)" }
  var isDocument: Bool { descriptor.mediaType.isManifest || descriptor.mediaType.isIndex }
  var patience: RetryPolicy.Patience { isDocument ? .lookUp : sink.canWait ? .background : .read }

  var home: RequestURL? {
    get throws(ContentError) { try address }
  }

  private var address: RequestURL {
    get throws(ContentError) {
      if let tag { return try repository.address("manifests/\(tag.name)") }
      return try repository.address("\(isDocument ? "manifests" : "blobs")/\(descriptor.digest)")
    }
  }

  private var client: RegistryClient { repository.client }

  // MARK: Requests

  mutating func next() throws(ContentError) -> HTTPRequest? {
    guard !isComplete, position < range.upperBound else { return nil }
    shortcut = usesShortcut ? client.hosts.redirect(of: descriptor.digest, in: repository.name) : nil
    let url: RequestURL
    if let shortcut { url = shortcut.url } else { url = try address }
    var request = HTTPRequest(.get, url)
    request.usesNewConnection = sink.wantsNewConnection
    request.addressRule = shortcut?.rule
    if isDocument { request.accept(MediaType.manifests) }
    if position > 0 || range.upperBound < descriptor.size { request.range = position..<range.upperBound }
    return request
  }

  mutating func send(_ request: HTTPRequest) async -> (outcome: ExchangeOutcome, isProgress: Bool) {
    let receiver = BlobReceiver(wanted: position..<range.upperBound, descriptor: descriptor, sink: sink)
    let error = await transfer(request, to: receiver)
    let result = receiver.result
    let isProgress = advance(to: result.reached)
    if result.sinkIsDone || position >= range.upperBound {
      isComplete = true
      remember(result.response, request)
    }
    return (outcome(of: result, error, request, isProgress: isProgress), isProgress)
  }

  private func outcome(
    of result: BlobReceiver.Result,
    _ error: HTTPError?,
    _ request: HTTPRequest,
    isProgress: Bool
  ) -> ExchangeOutcome {
    if isComplete, let response = result.response { return .delivered(response) }
    if let lie = result.lie {
      // A moved tag names another manifest: the requested manifest is still not found.
      return .contradiction(tag?.problem ?? contradiction(lie, result))
    }
    if let response = result.response, !response.isSuccess {
      if response.status == 429 || response.status == 503 { sink.note(.throttled) }
      return .answered(
        response,
        excerpt: result.excerpt,
        from: shortcut == nil ? origin(of: response, request) : .remembered
      )
    }
    if let error { return .failed(error) }
    // A complete response that is shorter than the request is progress: the next request is sent at once.
    if isProgress, let response = result.response { return .delivered(response) }
    return .nothing(
      ContentError(
        .unreachable,
        subject,
        host: repository.name.registry,
        "the response ended before the requested bytes"
      )
    )
  }

  /// Advances the position of the delivered bytes.
  ///
  /// - Returns: Whether that counts as progress; after too many consecutive tiny responses, it does not.
  private mutating func advance(to reached: Int64) -> Bool {
    guard reached > position else { return false }
    tinyAnswers = reached - position < Self.tinyAnswer ? tinyAnswers + 1 : 0
    position = reached
    return tinyAnswers <= Self.mostTinyAnswers
  }

  private func remember(_ response: HTTPResponse?, _ request: HTTPRequest) {
    guard let response else { return }
    if let shortcut {
      client.hosts.noteReplay(of: shortcut.url)
    } else if response.url != request.url {
      client.hosts.remember(response.url, response.rule, of: descriptor.digest, in: repository.name)
    }
  }

  // MARK: Ends

  @discardableResult
  mutating func dropShortcut(_ fault: ShortcutFault) -> Bool {
    guard let shortcut else { return false }
    usesShortcut = false
    self.shortcut = nil
    guard fault != .unavailable else { return true }
    client.hosts.forget(
      shortcut.url,
      of: descriptor.digest,
      in: repository.name,
      isRefused: fault == .refused
    )
    return true
  }

  /// Requests a manifest by its tag, once, if its digest is not found; the caller compares the digest as
  /// usual.
  mutating func end(_ response: HTTPResponse, _ problem: ContentError) throws(ContentError) {
    guard isDocument, response.status == 404, tag == nil,
      let known = client.hosts.tag(of: descriptor.digest, in: repository.name)
    else { throw problem }
    tag = (known, problem)
  }

  private func contradiction(_ lie: String, _ result: BlobReceiver.Result) -> ContentError {
    let host = result.response?.url.endpoint ?? repository.name.registry
    return ContentError(
      .corrupt,
      subject,
      host: host,
      "\(host) answered with \(lie)\(repository.quote(result.response, result.excerpt))",
      advice: "A proxy on the way to the registry changes responses, or the registry is damaged"
    )
  }

  // MARK: Transfer

  private func transfer(_ request: HTTPRequest, to receiver: BlobReceiver) async -> HTTPError? {
    let start = ContinuousClock.now
    let error = await client.thread.perform(request, receiver) { receiver.setContinuation($0) }
    let result = receiver.result
    client.logRequest(request, result.response, Int(result.received), start, error)
    if request.range != nil, result.lie == nil { noteRanges(result.response, request) }
    return error
  }

  private func noteRanges(_ response: HTTPResponse?, _ request: HTTPRequest) {
    switch response?.status {
    case 206: client.hosts.noteRanges(repository.name)
    case 200 where client.hosts.noteWithoutRanges(repository.name):
      client.log.notice(
        "the host does not serve ranges: blobs are streamed from their start",
        metadata: ["host": "\(response?.url.endpoint ?? request.url.endpoint)"]
      )
    default: break
    }
  }
}
