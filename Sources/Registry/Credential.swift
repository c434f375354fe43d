package import HTTP

/// A credential that is presented to a registry.
package enum Credential: Sendable, Hashable {
  case password(username: String, password: Secret)
  /// An identity token, which is exchanged for access tokens by POST.
  case identityToken(Secret)
  /// A token that the registry accepts without an exchange.
  case registryToken(Secret)

  // Azure's registries accept a refresh token in place of a password under this name.
  private static let azureUser = "00000000-0000-0000-0000-000000000000"

  /// Creates the credential that a user name and a secret stand for, which is not always a password.
  ///
  /// - Parameters:
  ///   - username: The user name; `<token>` from a credential helper and Azure's zero GUID mark an identity
  ///     token.
  ///   - secret: The password or token.
  package init(username: String, secret: String) {
    if username == "<token>" || username == Self.azureUser {
      self = .identityToken(Secret(secret))
    } else {
      self = .password(username: username, password: Secret(secret))
    }
  }
}

/// A credential and its origin.
package struct FoundCredential: Sendable, Hashable {
  package let credential: Credential
  /// The file or helper that supplied the credential, for messages.
  package let source: String
}
