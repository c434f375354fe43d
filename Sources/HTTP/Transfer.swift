import CCurl
import Locking

/// One request in flight.
///
/// Used only on the transfer thread.
final class Transfer {
  let identifier: UInt64
  let request: HTTPRequest
  let receiver: any ResponseReceiver
  let redirectCount: Int
  let handle: OpaquePointer
  private(set) var headerList: UnsafeMutablePointer<curl_slist>?
  private var status = 0
  private var headers: [(name: String, value: String)] = []
  private var headerBytes = 0
  private var delivered = false
  private var redirectBytes = 0
  var received: UInt64 = 0
  /// Whether the transfer is paused in favor of others.
  var isHalted = false
  /// Whether other transfers of the same host must not wait.
  var mustWait = false
  /// The address class of the connection; nil before the connection, and through a proxy.
  private(set) var peer: AddressClass?
  /// Whether a connection was established.
  private(set) var isConnected = false
  /// The address class of the connection, if the request's rule refuses it.
  private(set) var refusedClass: AddressClass?
  /// Receives the error text of libcurl, which is more specific than its code.
  let errorBuffer = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
  /// Whether the receiver returned false.
  private(set) var wasStopped = false

  // Maximum total size of the headers in bytes.
  private static let headerLimit = 256 << 10

  private unowned let thread: TransferThread

  init?(
    identifier: UInt64,
    request: HTTPRequest,
    receiver: any ResponseReceiver,
    redirectCount: Int,
    thread: TransferThread
  ) {
    guard let handle = curl_easy_init() else { return nil }
    self.thread = thread
    self.identifier = identifier
    self.request = request
    self.receiver = receiver
    self.redirectCount = redirectCount
    self.handle = handle
    errorBuffer.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
  }

  deinit {
    curl_easy_cleanup(handle)
    errorBuffer.deallocate()
    curl_slist_free_all(headerList)
  }

  var isRedirect: Bool { RedirectPolicy.isRedirect(status) }
  var responseStatus: Int { status }

  func addHeader(_ name: String, _ value: String) {
    // A line break would end the header and start another one.
    let line = "\(name): \(value)".filter { !$0.isNewline && $0 != "\0" }
    headerList = curl_slist_append(headerList, line)
  }

  /// Checks the address of the connection before the request is sent; returns false to refuse it.
  func checkPeer(_ address: String) -> Bool {
    isConnected = true
    // Through a proxy the address is that of the proxy; the host name was checked before.
    guard !thread.usesProxy(for: request.url) else { return true }
    peer = AddressClass(address)
    guard let rule = request.addressRule, let peer, rule.refused.contains(peer), !request.isTrusted else {
      return true
    }
    refusedClass = peer
    return false
  }

  func receiveHeader(_ bytes: UnsafeRawBufferPointer) -> Bool {
    headerBytes += bytes.count
    guard headerBytes <= Self.headerLimit else { return false }
    let line = String(decoding: bytes, as: UTF8.self)
    if line.hasPrefix("HTTP/") {
      // Each status line starts a new response, for example after 100 Continue or a proxy's CONNECT.
      headers = []
      let parts = line.split(separator: " ")
      status = parts.count > 1 ? Int(parts[1].prefix(3)) ?? 0 : 0
      return true
    }
    guard let colon = line.firstIndex(of: ":") else { return true }
    let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0.isNewline }
    let value = line[line.index(after: colon)...].drop(while: isSpace)
    let end = value.lastIndex { !isSpace($0) }
    headers.append((String(line[..<colon]), end.map { String(value[...$0]) } ?? ""))
    return true
  }

  /// Whether to pause before the next bytes, because the thread is needed for other work and this transfer
  /// can wait.
  func givesWay() -> Bool {
    guard received > 0, mustWait || thread.isWanted.load(ordering: .acquiring), receiver.canWait else {
      return false
    }
    isHalted = true
    return true
  }

  func receiveBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
    if isRedirect {
      // The body of a redirect is read, up to 1 MiB, so that the connection can be reused.
      redirectBytes += bytes.count
      return redirectBytes <= 1 << 20
    }
    received += UInt64(bytes.count)
    guard deliverHead() else { return false }
    guard receiver.receive(bytes) else {
      wasStopped = true
      return false
    }
    return true
  }

  /// Passes status and headers to the receiver, once.
  func deliverHead() -> Bool {
    if delivered { return !wasStopped }
    delivered = true
    guard
      receiver.receive(
        HTTPResponse(
          status: status,
          headers: headers,
          url: request.url,
          peer: peer,
          rule: request.addressRule
        )
      )
    else {
      wasStopped = true
      return false
    }
    return true
  }
}

// Functions at file scope are nonisolated and capture nothing, so they convert to C function pointers.

func receiveBody(
  _ buffer: UnsafeMutablePointer<CChar>?,
  _ size: Int,
  _ count: Int,
  _ user: UnsafeMutableRawPointer?
) -> Int {
  guard let user else { return 0 }
  // SAFETY: the pointer is the transfer, which TransferThread holds until the handle is done.
  let transfer = Unmanaged<Transfer>.fromOpaque(user).takeUnretainedValue()
  if transfer.givesWay() { return Int(CURL_WRITEFUNC_PAUSE) }
  return transfer.receiveBody(UnsafeRawBufferPointer(start: buffer, count: size * count)) ? size * count : 0
}

func receiveHeader(
  _ buffer: UnsafeMutablePointer<CChar>?,
  _ size: Int,
  _ count: Int,
  _ user: UnsafeMutableRawPointer?
) -> Int {
  guard let user else { return 0 }
  // SAFETY: as in receiveBody.
  let transfer = Unmanaged<Transfer>.fromOpaque(user).takeUnretainedValue()
  return transfer.receiveHeader(UnsafeRawBufferPointer(start: buffer, count: size * count)) ? size * count : 0
}

func checkPeer(
  _ user: UnsafeMutableRawPointer?,
  _ address: UnsafeMutablePointer<CChar>?,
  _ localAddress: UnsafeMutablePointer<CChar>?,
  _ port: Int32,
  _ localPort: Int32
) -> Int32 {
  guard let user, let address else { return CURL_PREREQFUNC_ABORT }
  // SAFETY: as in receiveBody.
  let transfer = Unmanaged<Transfer>.fromOpaque(user).takeUnretainedValue()
  return transfer.checkPeer(String(cString: address)) ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
}
