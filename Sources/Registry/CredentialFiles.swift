import FoundationEssentials
package import OCI
import HTTP

/// Finds credentials where podman and docker users keep them (containers-auth.json(5), config.json of docker).
///
/// The files are read at each look-up, which is once a token, so that a `podman login` counts at once.
package struct CredentialFiles: Sendable {
  /// The files, best first.
  package let paths: [String]

  /// The files by the variables of the environment: `REGISTRY_AUTH_FILE` alone where it is set; then `DOCKER_CONFIG`
  /// alone; else the runtime folder's, the configuration folder's and docker's files.
  ///
  /// - Parameter environment: of the process.
  package init(environment: [String: String]) {
    func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    if let file = value("REGISTRY_AUTH_FILE") {
      paths = [file]
    } else if let folder = value("DOCKER_CONFIG") {
      paths = ["\(folder)/config.json"]
    } else {
      var paths: [String] = []
      if let folder = value("XDG_RUNTIME_DIR") { paths.append("\(folder)/containers/auth.json") }
      let home = value("HOME")
      if let folder = value("XDG_CONFIG_HOME") ?? home.map({ "\($0)/.config" }) {
        paths.append("\(folder)/containers/auth.json")
      }
      if let home { paths += ["\(home)/.docker/config.json", "\(home)/.dockercfg"] }
      self.paths = paths
    }
  }

  private struct Entry: Decodable {
    let auth: String?
    let identitytoken: String?
    let username: String?
    let password: String?
  }

  private struct File: Decodable {
    let auths: [String: Entry]?
  }

  /// The credential for a repository, from the first file that has one.
  ///
  /// - Parameter repository: what is asked for; entries for a longer part of its name go before those of the host.
  /// - Returns: nil where there is none.
  package func credential(for repository: RepositoryName) -> Credential? {
    for path in paths {
      guard let data = try? Data(contentsOf: URL(filePath: path)), data.count <= 4 << 20 else { continue }
      let bytes = Array(data)
      let entries: [String: Entry]
      if path.hasSuffix(".dockercfg") {
        entries = (try? JSONDocument.decode([String: Entry].self, from: bytes)) ?? [:]
      } else {
        entries = (try? JSONDocument.decode(File.self, from: bytes))?.auths ?? [:]
      }
      if let credential = Self.credential(for: repository, in: entries) { return credential }
    }
    return nil
  }

  private static func credential(for repository: RepositoryName, in entries: [String: Entry]) -> Credential? {
    var names: [String] = []
    var components = [repository.registry] + repository.path.split(separator: "/").map(String.init)
    while !components.isEmpty {
      names.append(components.joined(separator: "/"))
      components.removeLast()
    }
    for name in names {
      if let credential = entries[name].flatMap(Self.credential) { return credential }
    }
    // Keys such as `https://index.docker.io/v1/`; sorted, so that two equal ones always give the same answer.
    for key in entries.keys.sorted() where Self.host(of: key) == repository.registry {
      if let credential = entries[key].flatMap(Self.credential) { return credential }
    }
    return nil
  }

  private static func credential(_ entry: Entry) -> Credential? {
    if let token = entry.identitytoken, !token.isEmpty { return .identityToken(Secret(token)) }
    if let auth = entry.auth, let text = Base64.decode(auth) {
      let trimmed = text.filter { $0 != "\0" }
      guard let colon = trimmed.firstIndex(of: ":") else { return nil }
      let password = String(trimmed[trimmed.index(after: colon)...])
      return .password(username: String(trimmed[..<colon]), password: Secret(password))
    }
    guard let username = entry.username, let password = entry.password, !username.isEmpty else { return nil }
    return .password(username: username, password: Secret(password))
  }

  static func host(of key: String) -> String {
    var rest = key[...]
    for scheme in ["https://", "http://"] where rest.hasPrefix(scheme) { rest = rest.dropFirst(scheme.count) }
    let host = rest.split(separator: "/", omittingEmptySubsequences: false).first.map(String.init) ?? ""
    // A key that names a path and no scheme is a namespace's, not the host's.
    let isNamespace = rest.contains("/") && rest.count == key.count && !rest.hasSuffix("/v1/")
    return isNamespace ? "" : RepositoryName.normalisedRegistry(host)
  }
}
