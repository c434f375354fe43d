import Content
import HTTP
import Logging
import OCI
import Synchronization

/// Brings one range of a blob to a sink: through redirects, new tokens, broken connections and hosts without ranges.
struct BlobTransfer: Sendable {
  let repository: RegistryRepository
  let descriptor: Descriptor
  let range: Range<Int64>
  let sink: any BlobSink

  private var client: RegistryClient { repository.client }
  private var subject: String { "\(repository.name)@\(descriptor.digest)" }

  /// Runs until every byte of the range was delivered or the sink wants no more.
  func run() async throws(ContentError) {
    var position = range.lowerBound
    var attempt = 1
    var refusals = 0
    var authorization = await client.tokens.current(repository.tokenKey)?.header
    // The shortcut by a remembered address is taken once; after it fails the registry is asked.
    var usesShortcut = true
    while position < range.upperBound {
      let direct = !usesShortcut ? nil : client.hosts.redirect(of: descriptor.digest, in: repository.name)
      let request = try request(from: position, direct: direct, authorization: authorization)
      let receiver = BlobReceiver(wanted: position..<range.upperBound, size: descriptor.size, sink: sink)
      let error = await send(request, to: receiver)
      let result = receiver.result
      if result.reached > position {
        position = result.reached
        attempt = 1
        refusals = 0
      }
      if result.sinkIsDone || position >= range.upperBound {
        remember(result.response, request)
        return
      }
      if let lie = result.lie {
        if direct != nil {
          usesShortcut = false
          client.hosts.remember(nil, of: descriptor.digest, in: repository.name)
          continue
        }
        throw ContentError(.corrupt, subject, host: repository.name.registry, lie)
      }
      var retryAfter: Duration?
      var problem = error.map { repository.failure($0, subject: subject) }
      if let response = result.response, !(200..<300).contains(response.status) {
        if direct != nil, [401, 403, 404, 410].contains(response.status) {
          usesShortcut = false
          // A signed address ends some time: the registry gives another. This is no attempt of its own.
          client.hosts.remember(nil, of: descriptor.digest, in: repository.name)
          continue
        }
        if response.status == 401, refusals == 0 {
          refusals += 1
          let header = try await repository.authorize(response, refused: authorization)
          if let header, header != authorization {
            authorization = header
            continue
          }
        }
        problem = repository.failure(response, subject: subject)
        retryAfter = response.retryAfter
        if response.status == 429 || response.status == 503 { sink.note(.throttled) }
        guard RetryPolicy.isTransient(response.status) else { throw problem ?? unexplained }
      } else if let error {
        if direct != nil {
          usesShortcut = false
          client.hosts.remember(nil, of: descriptor.digest, in: repository.name)
        }
        guard error.isTransient else { throw problem ?? unexplained }
      } else {
        problem = unexplained
      }
      guard let delay = repository.nextDelay(attempt, retryAfter) else { throw problem ?? unexplained }
      client.log.debug(
        "a fetch is tried again",
        metadata: [
          "blob": "\(descriptor.digest)", "at": "\(position)", "reason": "\(problem ?? unexplained)",
        ]
      )
      try await repository.pause(delay)
      attempt += 1
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

  private func request(
    from position: Int64,
    direct: RequestURL?,
    authorization: Secret?
  ) throws(ContentError) -> HTTPRequest {
    let isDocument = descriptor.mediaType.isManifest || descriptor.mediaType.isIndex
    let home = try repository.address("\(isDocument ? "manifests" : "blobs")/\(descriptor.digest)")
    let url = direct ?? home
    var request = HTTPRequest(.get, url)
    request.stallTimeout = client.configuration.stallTimeout
    request.usesNewConnection = sink.wantsNewConnection
    if isDocument {
      request.headers.append(("Accept", descriptor.mediaType.rawValue))
      request.totalTimeout = client.configuration.stallTimeout * 2
    }
    if url.hasSameOrigin(as: home) { request.authorization = authorization }
    if position > 0 || range.upperBound < descriptor.size { request.range = position..<range.upperBound }
    return request
  }

  private func remember(_ response: HTTPResponse?, _ request: HTTPRequest) {
    guard let response, response.url != request.url else { return }
    client.hosts.remember(response.url, of: descriptor.digest, in: repository.name)
  }

  private func send(_ request: HTTPRequest, to receiver: BlobReceiver) async -> HTTPError? {
    let thread = client.thread
    let identifier = Mutex<UInt64?>(nil)
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
    if receiver.result.response?.status == 206 { client.hosts.noteRanges(repository.name.registry) }
    if request.range != nil, receiver.result.response?.status == 200,
      client.hosts.noteWithoutRanges(repository.name.registry)
    {
      client.log.notice(
        "the host does not serve ranges: blobs are streamed from their start",
        metadata: ["host": "\(request.url.host)"]
      )
    }
    return error
  }
}

/// Takes one response and passes its bytes on with their offsets.
final class BlobReceiver: ResponseReceiver {
  struct Result: Sendable {
    var response: HTTPResponse?
    /// Every byte from the first wanted one up to here was delivered.
    var reached: Int64
    var sinkIsDone = false
    /// What the response says that cannot be.
    var lie: String?
  }

  private struct State {
    var result: Result
    var position: Int64 = 0
    var end: Int64 = 0
    var passes = false
    var discarded = 0
    var continuation: CheckedContinuation<HTTPError?, Never>?
  }

  private let wanted: Range<Int64>
  private let size: Int64
  private let sink: any BlobSink
  private let start = ContinuousClock.now
  private let state: Mutex<State>

  var canWait: Bool { sink.canWait }

  init(wanted: Range<Int64>, size: Int64, sink: any BlobSink) {
    self.wanted = wanted
    self.size = size
    self.sink = sink
    state = Mutex(State(result: Result(reached: wanted.lowerBound)))
  }

  var result: Result { state.withLock { $0.result } }

  func setContinuation(_ continuation: CheckedContinuation<HTTPError?, Never>) {
    state.withLock { $0.continuation = continuation }
  }

  func receive(_ response: HTTPResponse) -> Bool {
    if (200..<300).contains(response.status) { sink.note(.firstByte(ContinuousClock.now - start)) }
    return state.withLock { state in
      state.result.response = response
      switch response.status {
      case 206:
        guard let (range, total) = response.contentRange else {
          state.result.lie = "the registry answered 206 without a Content-Range that can be read"
          return false
        }
        guard range.lowerBound == wanted.lowerBound, range.upperBound <= wanted.upperBound else {
          state.result.lie = "the registry answered with the bytes \(range) to a request for \(wanted)"
          return false
        }
        if let total, total != size {
          state.result.lie = "the registry says the blob has \(total) bytes, the manifest says \(size)"
          return false
        }
        state.position = range.lowerBound
        state.end = range.upperBound
        state.passes = true
      case 200:
        if let length = response.contentLength, length != size {
          state.result.lie = "the registry says the blob has \(length) bytes, the manifest says \(size)"
          return false
        }
        state.position = 0
        state.end = size
        state.passes = true
      default: break
      }
      return true
    }
  }

  func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let (offset, count): (Int64, Int) = state.withLock { state in
      guard state.passes else {
        // An error's text is read, within reason, so that the connection can serve again.
        state.discarded += bytes.count
        return (-1, state.discarded <= 64 << 10 ? 1 : 0)
      }
      let count = Int(min(Int64(bytes.count), state.end - state.position))
      defer { state.position += Int64(count) }
      return (state.position, count)
    }
    if offset < 0 { return count > 0 }
    if count < bytes.count {
      state.withLock { $0.result.lie = "the response has more bytes than it says" }
    }
    guard count > 0 else { return false }
    // The sink writes to disk: it is called without the lock.
    let wantsMore = sink.receive(UnsafeRawBufferPointer(rebasing: bytes[..<count]), at: offset)
    return state.withLock { state in
      let end = offset + Int64(count)
      if offset <= state.result.reached { state.result.reached = max(state.result.reached, end) }
      state.result.sinkIsDone = !wantsMore
      return wantsMore
    }
  }

  func finish(_ error: HTTPError?) {
    let continuation = state.withLock { state in
      defer { state.continuation = nil }
      return state.continuation
    }
    continuation?.resume(returning: error)
  }
}
