import HTTP
import OCI

/// One credential file in the format of docker and podman (config.json, containers-auth.json(5)).
///
/// Pure. An entry that cannot be read is skipped; the other entries count.
struct CredentialFile: Sendable {
  struct Entry: Decodable, Sendable {
    var auth: String?
    var identitytoken: String?
    var registrytoken: String?
    var username: String?
    var password: String?
  }

  /// An entry, or nil if it does not have the usual form.
  private struct Lenient: Decodable {
    let entry: Entry?

    init(from decoder: any Decoder) throws { entry = try? Entry(from: decoder) }
  }

  private struct Text: Decodable {
    let text: String?

    init(from decoder: any Decoder) throws { text = try? decoder.singleValueContainer().decode(String.self) }
  }

  private struct Document: Decodable {
    let auths: [String: Lenient]?
    let credHelpers: [String: Text]?
    let credsStore: Text?
  }

  private let entries: [String: Entry]
  private let helpers: [String: String]
  private let store: String?
  /// The keys of the entries that cannot be read.
  let unreadable: [String]

  /// Parses a credential file.
  ///
  /// - Parameters:
  ///   - bytes: The complete file.
  ///   - isLegacy: Whether the file is a `.dockercfg`, which consists of the `auths` member alone.
  /// - Throws: `DocumentError` if the file does not have this format.
  init(_ bytes: [UInt8], isLegacy: Bool) throws(DocumentError) {
    let auths: [String: Lenient]
    if isLegacy {
      auths = try JSONDocument.decode([String: Lenient].self, from: bytes)
      (helpers, store) = ([:], nil)
    } else {
      let document = try JSONDocument.decode(Document.self, from: bytes)
      auths = document.auths ?? [:]
      helpers = (document.credHelpers ?? [:]).compactMapValues(\.text)
      store = document.credsStore?.text.flatMap { $0.isEmpty ? nil : $0 }
    }
    entries = auths.compactMapValues(\.entry)
    unreadable = auths.filter { $0.value.entry == nil }.keys.sorted()
  }

  /// Returns the credential that the file itself has for a repository, or nil if no entry matches.
  ///
  /// - Parameter repository: The repository; entries for a longer part of its name precede those of the host.
  func credential(for repository: RepositoryName) -> Credential? {
    var components = [repository.registry] + repository.path.split(separator: "/").map(String.init)
    while !components.isEmpty {
      if let credential = entries[components.joined(separator: "/")].flatMap(Self.credential) {
        return credential
      }
      components.removeLast()
    }
    // Keys such as `https://index.docker.io/v1/`; sorted, so that the choice between equal keys is stable.
    for key in entries.keys.sorted() where Self.host(of: key) == repository.registry {
      if let credential = entries[key].flatMap(Self.credential) { return credential }
    }
    return nil
  }

  /// Returns the credential helper for a registry and the address to pass to it, or nil if the file names no
  /// helper.
  ///
  /// - Parameter registry: The host of the registry; a namespace has no helper of its own.
  func helper(for registry: String) -> (name: String, server: String, isDefault: Bool)? {
    for (key, name) in helpers.sorted(by: { $0.key < $1.key })
    where !name.isEmpty && Self.host(of: key) == registry {
      return (name, key, false)
    }
    guard let store else { return nil }
    // Docker Hub's credentials are stored under the address of its first version.
    return (store, registry == "docker.io" ? "https://index.docker.io/v1/" : registry, true)
  }

  private static func credential(_ entry: Entry) -> Credential? {
    if let token = entry.registrytoken, !token.isEmpty { return .registryToken(Secret(token)) }
    if let token = entry.identitytoken, !token.isEmpty { return .identityToken(Secret(token)) }
    if let auth = entry.auth, let text = Base64.decode(auth) {
      let trimmed = text.filter { $0 != "\0" }
      guard let colon = trimmed.firstIndex(of: ":") else { return nil }
      let secret = String(trimmed[trimmed.index(after: colon)...])
      return Credential(username: String(trimmed[..<colon]), secret: secret)
    }
    guard let username = entry.username, let password = entry.password, !username.isEmpty else { return nil }
    return Credential(username: username, secret: password)
  }

  static func host(of key: String) -> String {
    var rest = key[...]
    for scheme in ["https://", "http://"] where rest.hasPrefix(scheme) { rest = rest.dropFirst(scheme.count) }
    let host = rest.split(separator: "/", omittingEmptySubsequences: false).first.map(String.init) ?? ""
    // A key with a path and without a scheme belongs to a namespace, not to the host.
    let isNamespace = rest.contains("/") && rest.count == key.count && !rest.hasSuffix("/v1/")
    return isNamespace ? "" : RepositoryName.normalisedRegistry(host)
  }
}
