import Content
import HTTP
import Logging
import OCI

extension RegistryRepository {
  /// Sends a request for something small, with authorization and retries.
  ///
  /// - Parameters:
  ///   - method: GET or HEAD.
  ///   - path: behind the repository's address.
  ///   - subject: names the object in errors.
  ///   - accept: types, best first.
  ///   - limit: of the body in bytes.
  ///   - isOutside: the path counts from the registry's address, not from the repository's.
  /// - Throws: `ContentError`, not for a status that no remedy is left for: that is the caller's to judge.
  func send(
    _ method: HTTPRequest.Method,
    _ path: String,
    subject: String,
    accept: [MediaType] = [],
    limit: Int,
    isOutside: Bool = false
  ) async throws(ContentError) -> DocumentAnswer {
    if let known = client.hosts.failure(of: name) { throw known }
    var exchange = DocumentExchange(
      self,
      method,
      path,
      subject: subject,
      accept: accept,
      limit: limit,
      isOutside: isOutside
    )
    var engine = RequestEngine(self, patience: .lookUp)
    do throws(ContentError) {
      try await engine.run(&exchange)
    } catch {
      remember(error)
      throw error
    }
    guard let answer = exchange.answer else {
      throw ContentError(.unreachable, subject, host: name.registry, "no response arrived")
    }
    let refusal = exchange.problem ?? failure(answer.response, answer.body, subject: subject)
    return DocumentAnswer(response: answer.response, body: answer.body, refusal: refusal)
  }

  /// Remembers a request that was not answered, so that look-ups of the next moments need not wait as long.
  private func remember(_ failed: ContentError) {
    guard let error = failed.underlying as? HTTPError,
      [.unreachable, .tls, .broken, .timedOut].contains(error.code)
    else { return }
    // No connection to the registry itself is the endpoint's failure, everything else the repository's.
    let isConnection = error.code == .unreachable || error.code == .tls
    let isOwn = error.url.map { !isElsewhere($0) } ?? true
    client.hosts.noteFailure(failed, of: name, isEndpoint: isConnection && isOwn)
  }

  /// Asks for the manifests that were fetched last, so that a cache in front of another registry fetches their blobs.
  ///
  /// - Throws: `problem`, where no manifest was fetched.
  func askManifests(_ problem: ContentError) async throws(ContentError) {
    let digests = client.hosts.manifests(of: name)
    guard !digests.isEmpty else { throw problem }
    for digest in digests {
      do throws(ContentError) {
        _ = try await send(
          .get,
          "manifests/\(digest)",
          subject: "\(name)@\(digest)",
          accept: MediaType.manifests,
          limit: Int(ManifestDocument.maximumSize)
        )
      } catch {
        // The blob is asked for once more in any case.
        client.log.debug("a manifest was asked for its blob", metadata: ["reason": "\(error)"])
      }
    }
  }

  var tokenKey: String { "\(name)" }

  /// The address that the registry's API is below, by the scheme that it is known to speak.
  var base: String { client.base(of: name.registry) }

  /// The host of the registry's own address, without port.
  var host: String { RequestURL(base)?.host ?? "" }

  /// Whether an address is not of the registry's own origin: a storage host, a token server.
  func isElsewhere(_ url: RequestURL) -> Bool {
    RequestURL(base).map { !url.hasSameOrigin(as: $0) } ?? true
  }

  /// Sets the limits and trusted hosts that every request of the registry has.
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
        "no address can be made of '\(path.prefix(200))'"
      )
    }
    return url
  }
}
