/// Determines which requests go through a proxy, by the variables that curl knows (curl(1), "ENVIRONMENT";
/// CURLOPT_NOPROXY).
///
/// A pure value. The address of a connection to a proxy says nothing about the requested host, so the address
/// check depends on this.
struct ProxyRules: Sendable {
  /// The proxies by the scheme of the request.
  private let proxies: [String: String]
  private let exceptions: [Substring]

  /// Reads the proxy variables of an environment.
  init(environment: [String: String]) {
    func value(_ names: String...) -> String? { names.compactMap { environment[$0] }.first { !$0.isEmpty } }
    let all = value("all_proxy", "ALL_PROXY")
    var proxies: [String: String] = [:]
    // libcurl ignores `HTTP_PROXY`, as a client can set it in a CGI program.
    proxies["http"] = value("http_proxy") ?? all
    proxies["https"] = value("https_proxy", "HTTPS_PROXY") ?? all
    self.proxies = proxies
    let list = value("no_proxy", "NO_PROXY") ?? ""
    exceptions = list.lowercased().split { $0 == "," || $0 == " " || $0 == "\t" }
  }

  /// Returns the proxy for the connection of a URL; nil for a direct connection.
  func proxy(for url: RequestURL) -> String? {
    // Requests to this machine bypass proxies: plain HTTP is allowed only because the bytes do not leave the machine.
    guard !url.isLoopback, !isException(url.host) else { return nil }
    return proxies[url.scheme]
  }

  /// Whether the connection for a URL goes through a proxy.
  func usesProxy(for url: RequestURL) -> Bool { proxy(for: url) != nil }

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
