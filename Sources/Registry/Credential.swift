package import HTTP

/// What a user shows a registry.
package enum Credential: Sendable, Hashable {
  case password(username: String, password: Secret)
  /// An identity token, which is exchanged for access tokens by POST.
  case identityToken(Secret)
}
