import Content
package import HTTP
package import Logging
package import OCI

/// A client of registries that follow the distribution specification.
///
/// One client serves all registries of a process: tokens, redirects and facts about hosts are shared.
package final class RegistryClient: Sendable {
  let thread: TransferThread
  let credentials: CredentialFiles
  let configuration: RegistryConfiguration
  let tokens = TokenStore()
  let hosts = HostMemory()
  let warnings = OnceWarnings()
  let log: Logger

  /// Creates a client.
  ///
  /// - Parameters:
  ///   - thread: Runs the requests.
  ///   - credentials: Supplies the credentials.
  ///   - configuration: The connection settings.
  ///   - log: Receives messages for the operator.
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

  /// Returns a repository of a registry.
  ///
  /// - Parameter name: The name of the repository.
  package func repository(_ name: RepositoryName) -> RegistryRepository {
    RegistryRepository(client: self, name: name)
  }

  /// Returns the base address of a registry's API.
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

  /// Returns the error for a document that cannot be parsed, with its host, its media type and its first
  /// bytes.
  func unreadable(
    _ response: HTTPResponse,
    _ body: [UInt8],
    _ subject: String,
    of registry: String,
    _ error: DocumentError
  ) -> ContentError {
    let type = response.header("content-type").map { ForeignText.excerpt($0.utf8, limit: 100) } ?? "none"
    // The body is not quoted if it comes from a private network that another registry redirected to.
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

  /// Logs a request that was answered or failed, at debug level.
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
  ///   - request: The request; redirects are followed.
  ///   - limit: The maximum size of the body in bytes.
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
