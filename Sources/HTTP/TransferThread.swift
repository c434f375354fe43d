import CCurl
import Glibc
import Locking
package import Telemetry

/// The thread that runs all transfers of the process with libcurl's multi interface.
///
/// Receivers are called on this thread. Connections are kept and shared; HTTP/2 is used if the host supports
/// it.
package final class TransferThread: Sendable {
  private enum Command: Sendable {
    case add(identifier: UInt64, request: HTTPRequest, receiver: any ResponseReceiver)
    case cancel(identifier: UInt64)
    case stop
  }

  private struct Inbox: Sendable {
    var commands: [Command] = []
    var nextIdentifier: UInt64 = 1
    var isStopped = false
  }

  // SAFETY: other threads only call curl_multi_wakeup with it, which libcurl allows; all other uses are on
  // the thread.
  private struct Multi: @unchecked Sendable {
    let pointer: OpaquePointer
  }

  private let multi: Multi
  private let inbox = Mutex(Inbox())
  /// Whether other work waits for the thread; transfers that can wait then pause.
  ///
  /// libcurl serves one connection as long as it has bytes, even if other connections have bytes too.
  let isWanted = Atomic(false)
  package let metrics: Metrics
  private let certificates: CertificateSettings
  private let proxies: ProxyRules

  /// Starts the thread, which runs until `stop`.
  ///
  /// - Parameters:
  ///   - metrics: Counts requests and bytes.
  ///   - environment: `SSL_CERT_FILE`, `SSL_CERT_DIR`, `CURL_CA_BUNDLE`; libcurl reads the proxy variables
  ///     itself.
  package init(metrics: Metrics, environment: [String: String]) {
    curl_global_init(Int(CURL_GLOBAL_DEFAULT))
    guard let pointer = curl_multi_init() else { preconditionFailure("cannot initialize libcurl") }
    _ = ccurl_multi_set_long(pointer, CURLMOPT_MAX_HOST_CONNECTIONS, 32)
    _ = ccurl_multi_set_long(pointer, CURLMOPT_PIPELINING, Int(CURLPIPE_MULTIPLEX))
    multi = Multi(pointer: pointer)
    self.metrics = metrics
    certificates = CertificateSettings(environment: environment)
    proxies = ProxyRules(environment: environment)
    var thread = pthread_t()
    // SAFETY: the thread releases the reference when it ends.
    let user = Unmanaged.passRetained(self).toOpaque()
    let result = pthread_create(&thread, nil, runTransferThread, user)
    precondition(result == 0, "cannot start the transfer thread")
    pthread_detach(thread)
  }

  /// Whether the connection for a URL may go through a proxy.
  func usesProxy(for url: RequestURL) -> Bool { proxies.usesProxy(for: url) }

  /// Starts a request.
  ///
  /// - Parameters:
  ///   - request: The request.
  ///   - receiver: Receives the response on the transfer thread.
  /// - Returns: The identifier for `cancel`.
  @discardableResult
  package func start(_ request: HTTPRequest, receiver: any ResponseReceiver) -> UInt64 {
    let identifier: UInt64? = inbox.withLock { inbox in
      guard !inbox.isStopped else { return nil }
      let identifier = inbox.nextIdentifier
      inbox.nextIdentifier += 1
      inbox.commands.append(.add(identifier: identifier, request: request, receiver: receiver))
      return identifier
    }
    guard let identifier else {
      receiver.finish(HTTPError(.cancelled, "weightfs is shutting down"))
      return 0
    }
    isWanted.store(true, ordering: .releasing)
    curl_multi_wakeup(multi.pointer)
    return identifier
  }

  /// Cancels a request; its receiver is finished with `cancelled`, unless it is already finished.
  ///
  /// - Parameter identifier: From `start`.
  package func cancel(_ identifier: UInt64) {
    inbox.withLock { $0.commands.append(.cancel(identifier: identifier)) }
    isWanted.store(true, ordering: .releasing)
    curl_multi_wakeup(multi.pointer)
  }

  /// Cancels every request and ends the thread.
  package func stop() {
    inbox.withLock { inbox in
      guard !inbox.isStopped else { return }
      inbox.isStopped = true
      inbox.commands.append(.stop)
    }
    isWanted.store(true, ordering: .releasing)
    curl_multi_wakeup(multi.pointer)
  }

  fileprivate func run() {
    var active: [UInt64: Transfer] = [:]
    var running: Int32 = 0
    while true {
      isWanted.store(false, ordering: .releasing)
      let commands = inbox.withLock { inbox in
        defer { inbox.commands.removeAll(keepingCapacity: true) }
        return inbox.commands
      }
      for command in commands {
        switch command {
        case .add(let identifier, let request, let receiver):
          add(request, identifier: identifier, receiver: receiver, redirectCount: 0, to: &active)
        case .cancel(let identifier):
          guard let transfer = active.removeValue(forKey: identifier) else { continue }
          curl_multi_remove_handle(multi.pointer, transfer.handle)
          transfer.receiver.finish(HTTPError(.cancelled, "cancelled"))
        case .stop:
          for transfer in active.values {
            curl_multi_remove_handle(multi.pointer, transfer.handle)
            transfer.receiver.finish(HTTPError(.cancelled, "weightfs is shutting down"))
          }
          // The multi handle is not freed, as another thread may still call curl_multi_wakeup with it.
          return
        }
      }
      curl_multi_perform(multi.pointer, &running)
      finishDone(&active)
      let isHalting = giveWay(active)
      let isIdle = inbox.withLock { $0.commands.isEmpty }
      // While a transfer is paused, poll often: no event reports that it can be resumed.
      if isIdle { curl_multi_poll(multi.pointer, nil, 0, isHalting ? 5 : 1000, nil) }
    }
  }

  /// Pauses transfers that can wait while others of their host must not, and resumes them afterwards.
  ///
  /// A paused transfer reads nothing, so that its sender stops too; libcurl does not count the pause as a
  /// stall.
  ///
  /// - Returns: Whether a transfer is paused.
  private func giveWay(_ active: [UInt64: Transfer]) -> Bool {
    var urgent: Set<String> = []
    var waiting: [Transfer] = []
    for transfer in active.values {
      if transfer.receiver.canWait {
        waiting.append(transfer)
      } else {
        urgent.insert(transfer.request.url.host)
      }
    }
    var isHalting = false
    for transfer in active.values where transfer.isHalted && !transfer.receiver.canWait {
      transfer.isHalted = false
      curl_easy_pause(transfer.handle, CURLPAUSE_CONT)
    }
    for transfer in waiting {
      let mustWait = urgent.contains(transfer.request.url.host)
      transfer.mustWait = mustWait
      isHalting = isHalting || mustWait
      // libcurl would deliver headers that arrive during a pause in one piece, so transfers pause only in the
      // body.
      guard mustWait != transfer.isHalted, transfer.received > 0 else { continue }
      transfer.isHalted = mustWait
      curl_easy_pause(transfer.handle, mustWait ? CURLPAUSE_RECV : CURLPAUSE_CONT)
    }
    return isHalting
  }

  private func add(
    _ request: HTTPRequest,
    identifier: UInt64,
    receiver: any ResponseReceiver,
    redirectCount: Int,
    to active: inout [UInt64: Transfer]
  ) {
    if let problem = request.refusalByName() {
      receiver.finish(problem)
      return
    }
    guard
      let transfer = Transfer(
        identifier: identifier,
        request: request,
        receiver: receiver,
        redirectCount: redirectCount,
        thread: self
      )
    else {
      receiver.finish(HTTPError(.broken, "out of memory"))
      return
    }
    configure(transfer)
    transfer.mustWait = active.values.contains {
      !$0.receiver.canWait && $0.request.url.host == request.url.host
    }
    active[identifier] = transfer
    metrics.httpRequests.add()
    guard curl_multi_add_handle(multi.pointer, transfer.handle) == CURLM_OK else {
      active[identifier] = nil
      receiver.finish(HTTPError(.broken, "libcurl cannot start another transfer"))
      return
    }
  }

  private func configure(_ transfer: Transfer) {
    let handle = transfer.handle
    let request = transfer.request
    // SAFETY: `active` holds the transfer as long as the handle is in use.
    let user = Unmanaged.passUnretained(transfer).toOpaque()
    _ = ccurl_set_string(handle, CURLOPT_URL, request.url.text)
    _ = ccurl_set_string(handle, CURLOPT_PROTOCOLS_STR, "http,https")
    _ = ccurl_set_string(handle, CURLOPT_USERAGENT, "weightfs")
    _ = ccurl_set_long(handle, CURLOPT_NOSIGNAL, 1)
    _ = ccurl_set_long(handle, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_2TLS))
    _ = ccurl_set_long(handle, CURLOPT_TCP_KEEPALIVE, 1)
    // libcurl reads up to a hundred buffers of one connection before it handles others.
    _ = ccurl_set_long(handle, CURLOPT_BUFFERSIZE, 256 << 10)
    _ = ccurl_set_long(handle, CURLOPT_FOLLOWLOCATION, 0)
    _ = ccurl_set_long(handle, CURLOPT_CONNECTTIMEOUT_MS, request.connectTimeout.milliseconds)
    _ = ccurl_set_long(handle, CURLOPT_LOW_SPEED_LIMIT, max(1, request.minimumRate))
    _ = ccurl_set_long(
      handle,
      CURLOPT_LOW_SPEED_TIME,
      max(1, (request.stallTimeout.milliseconds + 999) / 1000)
    )
    // With HTTP/2, which is negotiated only over TLS, one connection serves several requests.
    if request.url.scheme == "https" { _ = ccurl_set_long(handle, CURLOPT_PIPEWAIT, 1) }
    if request.usesNewConnection { _ = ccurl_set_long(handle, CURLOPT_FRESH_CONNECT, 1) }
    if let total = request.totalTimeout { _ = ccurl_set_long(handle, CURLOPT_TIMEOUT_MS, total.milliseconds) }
    // Set for every request: libcurl reads the environment of the process, and the check of addresses reads the rules.
    let proxy = proxies.proxy(for: request.url)
    if let proxy { _ = ccurl_set_string(handle, CURLOPT_PROXY, proxy) }
    _ = ccurl_set_string(handle, CURLOPT_NOPROXY, proxy == nil ? "*" : "")
    certificates.apply(to: handle)
    addHeaders(transfer)
    setMethod(transfer)
    _ = ccurl_set_list(handle, CURLOPT_HTTPHEADER, transfer.headerList)
    _ = ccurl_set_pointer(handle, CURLOPT_PRIVATE, user)
    _ = ccurl_set_pointer(handle, CURLOPT_ERRORBUFFER, transfer.errorBuffer)
    _ = ccurl_set_pointer(handle, CURLOPT_PREREQDATA, user)
    _ = ccurl_set_prereq_callback(handle, checkPeer)
    _ = ccurl_set_pointer(handle, CURLOPT_WRITEDATA, user)
    _ = ccurl_set_data_callback(handle, CURLOPT_WRITEFUNCTION, receiveBody)
    _ = ccurl_set_pointer(handle, CURLOPT_HEADERDATA, user)
    _ = ccurl_set_data_callback(handle, CURLOPT_HEADERFUNCTION, receiveHeader)
  }

  private func addHeaders(_ transfer: Transfer) {
    let request = transfer.request
    // Bytes are counted and hashed in the form in which the registry stores them.
    transfer.addHeader("Accept-Encoding", "identity")
    for header in request.headers { transfer.addHeader(header.name, header.value) }
    if let authorization = request.authorization { transfer.addHeader("Authorization", authorization.value) }
    if let range = request.range {
      transfer.addHeader("Range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)")
    }
  }

  private func setMethod(_ transfer: Transfer) {
    let handle = transfer.handle
    switch transfer.request.method {
    case .get: break
    case .head: _ = ccurl_set_long(handle, CURLOPT_NOBODY, 1)
    case .post:
      let body = transfer.request.body
      _ = ccurl_set_long(handle, CURLOPT_POST, 1)
      _ = ccurl_set_long(handle, CURLOPT_POSTFIELDSIZE, body.count)
      _ = body.withUnsafeBufferPointer { body in
        body.withMemoryRebound(to: CChar.self) {
          ccurl_set_string(handle, CURLOPT_COPYPOSTFIELDS, $0.baseAddress)
        }
      }
    }
  }

  private func finishDone(_ active: inout [UInt64: Transfer]) {
    var left: Int32 = 0
    while let message = curl_multi_info_read(multi.pointer, &left) {
      guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle else { continue }
      let code = message.pointee.data.result
      var user: UnsafeMutableRawPointer?
      _ = ccurl_get_pointer(handle, CURLINFO_PRIVATE, &user)
      guard let user else { continue }
      // SAFETY: `active` still holds the transfer.
      let transfer = Unmanaged<Transfer>.fromOpaque(user).takeUnretainedValue()
      curl_multi_remove_handle(multi.pointer, handle)
      active.removeValue(forKey: transfer.identifier)
      metrics.httpBytes.add(transfer.received)
      if !transfer.wasStopped {
        metrics.responses.add([transfer.request.url.host, "\(transfer.responseStatus)"])
      }
      finish(transfer, code, &active)
    }
  }

  private func finish(_ transfer: Transfer, _ code: CURLcode, _ active: inout [UInt64: Transfer]) {
    if transfer.isRedirect, code == CURLE_OK {
      var location: UnsafeMutableRawPointer?
      _ = ccurl_get_pointer(transfer.handle, CURLINFO_REDIRECT_URL, &location)
      if let location {
        let text = String(cString: location.assumingMemoryBound(to: CChar.self))
        do throws(HTTPError) {
          let next = try RedirectPolicy.next(
            after: transfer.request,
            status: transfer.responseStatus,
            location: text,
            count: transfer.redirectCount,
            peer: transfer.peer
          )
          add(
            next,
            identifier: transfer.identifier,
            receiver: transfer.receiver,
            redirectCount: transfer.redirectCount + 1,
            to: &active
          )
        } catch {
          transfer.receiver.finish(error)
        }
        return
      }
    }
    guard code == CURLE_OK else {
      transfer.receiver.finish(
        transfer.wasStopped ? HTTPError(.stopped, "stopped") : Self.error(code, transfer)
      )
      return
    }
    transfer.receiver.finish(transfer.deliverHead() ? nil : HTTPError(.stopped, "stopped"))
  }

  private static func error(_ code: CURLcode, _ transfer: Transfer) -> HTTPError {
    let url = transfer.request.url
    let detail = String(cString: transfer.errorBuffer)
    let text = detail.isEmpty ? String(cString: curl_easy_strerror(code)) : detail
    func make(_ kind: HTTPError.Code, _ reason: String) -> HTTPError {
      HTTPError(kind, "\(url): \(reason)", url: url, hasResponse: transfer.responseStatus > 0)
    }
    if let refused = transfer.refusedClass { return HTTPRequest.refusal(url, refused) }
    switch code {
    case CURLE_OPERATION_TIMEDOUT:
      guard transfer.isConnected else {
        return make(.unreachable, "no connection within \(transfer.request.connectTimeout)")
      }
      return make(
        .timedOut,
        "too few bytes (less than \(transfer.request.minimumRate) bytes per second for \(transfer.request.stallTimeout))"
      )
    case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT:
      return make(.unreachable, text)
    case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CACERT_BADFILE,
      CURLE_SSL_CERTPROBLEM,
      CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR:
      return make(.tls, "TLS failed: \(TLSFailure.reason(text, verification(transfer.handle)))")
    case CURLE_PROXY: return make(.unreachable, text)
    default: return make(.broken, "the response broke off: \(text)")
    }
  }

  private static func verification(_ handle: OpaquePointer) -> Int {
    var result = 0
    _ = ccurl_get_long(handle, CURLINFO_SSL_VERIFYRESULT, &result)
    return result
  }
}

private func runTransferThread(_ user: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  guard let user else { return nil }
  // SAFETY: retained by init for this thread.
  Unmanaged<TransferThread>.fromOpaque(user).takeRetainedValue().run()
  return nil
}

extension Duration {
  fileprivate var milliseconds: Int {
    let (seconds, attoseconds) = components
    return Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000)
  }
}
