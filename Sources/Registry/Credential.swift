package import HTTP

/// What a user shows a registry.
package enum Credential: Sendable, Hashable {
  case password(username: String, password: Secret)
  /// An identity token, which is exchanged for access tokens by POST.
  case identityToken(Secret)
  /// A token that the registry itself takes as it is.
  case registryToken(Secret)

  // Azure's registries take a refresh token in place of a password under this name.
  private static let azureUser = "00000000-0000-0000-0000-000000000000"

  /// What a user name and a password mean, which is not always a password.
  ///
  /// - Parameters:
  ///   - username: `<token>` of a credential helper stands for an identity token, as Azure's zero GUID does.
  ///   - secret: password or token.
  package init(username: String, secret: String) {
    if username == "<token>" || username == Self.azureUser {
      self = .identityToken(Secret(secret))
    } else {
      self = .password(username: username, password: Secret(secret))
    }
  }
}

/// A credential and where it was found.
package struct FoundCredential: Sendable, Hashable {
  package let credential: Credential
  /// The file, or the helper, for messages.
  package let source: String
}
