import Content
import HTTP
import Logging
import OCI

extension RegistryRepository {
  /// Sends a request for a small document, with authorization and retries.
  ///
  /// - Parameter exchange: The document.
  /// - Throws: `ContentError` if no answer arrived; the caller judges an unsuccessful status.
  func send(_ exchange: DocumentExchange) async throws(ContentError) -> DocumentAnswer {
    if let known = client.hosts.failure(of: name) { throw known }
    var exchange = exchange
    var engine = RequestEngine(self, patience: .lookUp)
    do throws(ContentError) {
      try await engine.run(&exchange)
    } catch {
      remember(error)
      throw error
    }
    guard let answer = exchange.answer else {
      throw ContentError(.unreachable, exchange.subject, host: name.registry, "no response arrived")
    }
    let refusal = exchange.problem ?? failure(answer.response, answer.body, subject: exchange.subject)
    return DocumentAnswer(response: answer.response, body: answer.body, refusal: refusal)
  }

  /// Returns the request for a manifest.
  func manifest(
    _ target: Reference.Target,
    _ method: HTTPRequest.Method,
    limit: Int
  ) -> DocumentExchange {
    DocumentExchange(
      repository: self,
      subject: describe(target),
      method: method,
      path: "manifests/\(target)",
      accept: MediaType.manifests,
      limit: limit
    )
  }

  /// Remembers an unanswered request, so that lookups of the next seconds fail at once.
  private func remember(_ failed: ContentError) {
    guard let error = failed.underlying as? HTTPError,
      [.unreachable, .tls, .broken, .timedOut].contains(error.code)
    else { return }
    // A failed connection to the registry itself counts for the endpoint, all other failures for the
    // repository.
    let isConnection = error.code == .unreachable || error.code == .tls
    let isOwn = error.url.map { !isElsewhere($0) } ?? true
    client.hosts.noteFailure(failed, of: name, isEndpoint: isConnection && isOwn)
  }

  /// Requests the most recently fetched manifests, so that a pull-through cache fetches their blobs.
  ///
  /// - Throws: `problem` if no manifest was fetched.
  func askManifests(_ problem: ContentError) async throws(ContentError) {
    let digests = client.hosts.manifests(of: name)
    guard !digests.isEmpty else { throw problem }
    for digest in digests {
      do throws(ContentError) {
        _ = try await send(manifest(.digest(digest), .get, limit: Int(ManifestDocument.maximumSize)))
      } catch {
        // The blob is requested once more in any case.
        client.log.debug("a manifest was asked for its blob", metadata: ["reason": "\(error)"])
      }
    }
  }

  var tokenKey: String { "\(name)" }

  /// The base address of the registry's API, with the scheme that the registry is known to use.
  var base: String { client.base(of: name.registry) }

  /// The host of the registry's own address, without the port.
  var host: String { RequestURL(base)?.host ?? "" }

  /// Returns whether an address is not of the registry's own origin, such as a storage host or token server.
  func isElsewhere(_ url: RequestURL) -> Bool {
    RequestURL(base).map { !url.hasSameOrigin(as: $0) } ?? true
  }

  /// Sets the limits and trusted hosts that apply to every request of the registry.
  func prepare(_ request: inout HTTPRequest) {
    request.stallTimeout = client.configuration.stallTimeout
    request.minimumRate = client.configuration.minimumRate
    request.trustedHosts = client.configuration.insecure
  }

  func address(_ path: String, isOutside: Bool = false) throws(ContentError) -> RequestURL {
    guard let url = RequestURL(isOutside ? "\(base)\(path)" : "\(base)\(name.path)/\(path)") else {
      throw ContentError(
        .invalid,
        "\(name)",
        host: name.registry,
        "'\(path.prefix(200))' does not form a valid address"
      )
    }
    return url
  }
}
