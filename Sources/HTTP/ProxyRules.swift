/// Determines which requests libcurl sends through a proxy of the environment (curl(1), "ENVIRONMENT";
/// CURLOPT_NOPROXY).
///
/// A pure value. The address of a connection to a proxy says nothing about the requested host, so the address
/// check depends on this.
struct ProxyRules: Sendable {
  private let schemes: Set<String>
  private let exceptions: [Substring]

  /// Reads the proxy variables of an environment.
  init(environment: [String: String]) {
    func value(_ names: String...) -> String? { names.compactMap { environment[$0] }.first { !$0.isEmpty } }
    let all = value("all_proxy", "ALL_PROXY") != nil
    var schemes: Set<String> = []
    // libcurl ignores `HTTP_PROXY`, as a client can set it in a CGI program.
    if all || value("http_proxy") != nil { schemes.insert("http") }
    if all || value("https_proxy", "HTTPS_PROXY") != nil { schemes.insert("https") }
    self.schemes = schemes
    let list = value("no_proxy", "NO_PROXY") ?? ""
    exceptions = list.lowercased().split { $0 == "," || $0 == " " || $0 == "\t" }
  }

  /// Whether the connection for a URL goes through a proxy.
  func usesProxy(for url: RequestURL) -> Bool {
    !url.isLoopback && schemes.contains(url.scheme) && !isException(url.host)
  }

  private func isException(_ host: String) -> Bool {
    if exceptions == ["*"] { return true }
    var name = host.lowercased()[...]
    if name.hasSuffix(".") { name = name.dropLast() }
    return exceptions.contains { matches($0, name) }
  }

  private func matches(_ exception: Substring, _ name: Substring) -> Bool {
    if let network = AddressNetwork(exception), let address = AddressNetwork.bytes(name) {
      return network.contains(address)
    }
    var domain = exception
    if domain.hasPrefix(".") { domain = domain.dropFirst() }
    if domain.hasSuffix(".") { domain = domain.dropLast() }
    guard !domain.isEmpty else { return false }
    return name == domain || name.hasSuffix(".\(domain)")
  }
}
