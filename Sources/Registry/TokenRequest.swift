import HTTP
import OCI

/// The token request for a challenge (distribution docs/content/spec/auth).
struct TokenRequest: Sendable {
  let repository: RegistryRepository
  let challenge: Challenge
  /// The address class of the registry's own connection.
  let peer: AddressClass?

  func make(_ credential: Credential?) throws(HTTPError) -> HTTPRequest {
    let registry = repository.name.registry
    let realm = challenge.parameters["realm"] ?? ""
    guard let root = RequestURL(realm) else {
      throw HTTPError(.broken, "\(registry) names a token server that is not an http address")
    }
    let isPlainRegistry = repository.base.hasPrefix("http:")
    guard
      root.scheme == "https" || isPlainRegistry
        || root.isNamed(in: repository.client.configuration.insecure)
    else {
      throw HTTPError(.tls, "\(registry) names a token server in plain http (\(root)): refused", url: root)
    }
    var request = try request(root, realm, credential)
    // A realm of the registry's own host receives the registry's requests in any case.
    if root.host != repository.host {
      let rule = AddressRule(registry: peer, isForCredentials: credential != nil)
      if !isPlainRegistry || credential != nil { request.addressRule = rule }
    }
    return request
  }

  private func request(
    _ root: RequestURL,
    _ realm: String,
    _ credential: Credential?
  ) throws(HTTPError) -> HTTPRequest {
    var fields: [(String, String)] = []
    if let service = challenge.parameters["service"] { fields.append(("service", service)) }
    var authorization: Secret?
    switch credential {
    case .identityToken(let token):
      fields += [("scope", scope), ("grant_type", "refresh_token"), ("client_id", "weightfs")]
      fields.append(("refresh_token", token.value))
      var request = HTTPRequest(.post, root, body: Array(FormEncoding.encode(fields).utf8))
      request.headers.append(("Content-Type", "application/x-www-form-urlencoded"))
      return request
    case .password(let username, let password):
      fields.append(("account", username))
      authorization = Secret("Basic \(Base64.encode("\(username):\(password.value)"))")
    case .registryToken, nil: break
    }
    fields += scope.split(separator: " ").map { ("scope", String($0)) }
    let separator = realm.contains("?") ? "&" : "?"
    guard let url = RequestURL("\(realm)\(separator)\(FormEncoding.encode(fields))") else {
      throw HTTPError(.broken, "\(repository.name.registry) names a token server that is not an http address")
    }
    return HTTPRequest(.get, url, authorization: authorization)
  }

  /// The scope of the challenge, or the repository's own scope if the challenge has a placeholder name.
  private var scope: String {
    let own = "repository:\(repository.name.path):pull"
    guard let scope = challenge.parameters["scope"], !scope.isEmpty, !Self.isPlaceholder(scope) else {
      return own
    }
    return scope
  }

  static func isPlaceholder(_ scope: String) -> Bool {
    let parts = scope.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.first == "repository", parts.count >= 3 else { return false }
    let name = parts[1..<(parts.count - 1)].joined(separator: ":")
    return name.isEmpty || name.contains { "{}<>$*".contains($0) }
      || ["user/image", "samalba/my-app"].contains(name)
  }
}
