import Content
package import HTTP
package import Logging
package import OCI

/// Speaks to registries by the distribution specification.
///
/// One client serves all registries of a process: tokens, redirects and what is known of hosts are shared.
package final class RegistryClient: Sendable {
  let thread: TransferThread
  let credentials: CredentialFiles
  let configuration: RegistryConfiguration
  let tokens = TokenStore()
  let hosts = HostMemory()
  let warnings = OnceWarnings()
  let log: Logger

  /// Makes a client.
  ///
  /// - Parameters:
  ///   - thread: runs the requests.
  ///   - credentials: where they are looked for.
  ///   - configuration: how registries are reached.
  ///   - log: for what a user should know.
  package init(
    thread: TransferThread,
    credentials: CredentialFiles,
    configuration: RegistryConfiguration,
    log: Logger
  ) {
    self.thread = thread
    self.credentials = credentials
    self.configuration = configuration
    self.log = log
  }

  /// A repository of a registry.
  ///
  /// - Parameter name: its registry and path.
  package func repository(_ name: RepositoryName) -> RegistryRepository {
    RegistryRepository(client: self, name: name)
  }

  /// The address that a registry's API is below.
  ///
  /// `docker.io` is served by another host.
  func base(of registry: String) -> String {
    let host = registry == "docker.io" ? "registry-1.docker.io" : registry
    let name = host.hasPrefix("[") ? host : host.split(separator: ":").first.map(String.init) ?? host
    let bare = name.hasPrefix("[") ? String(name.dropFirst().prefix { $0 != "]" }) : name
    let isLoopback = RequestURL.isLoopback(host: bare.lowercased())
    let isPlain =
      configuration.insecure.contains(registry)
      || (isLoopback && [.plain, nil].contains(hosts.scheme(of: registry)))
    return "\(isPlain ? "http" : "https")://\(host)/v2/"
  }

  // MARK: Messages

  /// The error of a document that cannot be read: which host sent it, what it calls it, and how it starts.
  func unreadable(
    _ response: HTTPResponse,
    _ body: [UInt8],
    _ subject: String,
    of registry: String,
    _ error: DocumentError
  ) -> ContentError {
    let type = response.header("content-type").map { ForeignText.excerpt($0.utf8, limit: 100) } ?? "none"
    // Nothing of a host in a private network that a registry elsewhere redirected to.
    let isElsewhere =
      response.peer == .privateNetwork && response.url.host != RequestURL(base(of: registry))?.host
    let start = isElsewhere ? "" : "; it starts with '\(ForeignText.excerpt(body))'"
    return ContentError(
      .invalid,
      subject,
      host: response.url.endpoint,
      "\(error.reason) (Content-Type: \(type)\(start))"
    )
  }

  /// Tells of a request that was answered or failed, for those who look for a fault.
  func logRequest(
    _ request: HTTPRequest,
    _ response: HTTPResponse?,
    _ bytes: Int,
    _ start: ContinuousClock.Instant,
    _ error: HTTPError?
  ) {
    guard log.logLevel <= .debug else { return }
    let url = response?.url ?? error?.url ?? request.url
    var metadata: Logger.Metadata = [
      "method": "\(request.method.rawValue)", "host": "\(url.endpoint)", "path": "\(url.path)",
      "bytes": "\(bytes)", "time": "\(ContinuousClock.now - start)",
    ]
    if let range = request.range { metadata["range"] = "\(range.lowerBound)-\(range.upperBound - 1)" }
    if let response { metadata["status"] = "\(response.status)" }
    if let error { metadata["error"] = "\(error)" }
    log.debug("a request", metadata: metadata)
  }

  /// Sends a request once and collects its body.
  ///
  /// - Parameters:
  ///   - request: to send; redirects are followed.
  ///   - limit: of the body in bytes.
  func exchange(
    _ request: HTTPRequest,
    limit: Int
  ) async -> Result<(response: HTTPResponse, body: [UInt8]), HTTPError> {
    let sent = ContinuousClock.now
    do throws(HTTPError) {
      let answer = try await thread.send(request, limit: limit)
      logRequest(request, answer.response, answer.body.count, sent, nil)
      return .success(answer)
    } catch {
      logRequest(request, nil, 0, sent, error)
      return .failure(error)
    }
  }
}
