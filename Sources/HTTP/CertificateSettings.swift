import CCurl

/// The locations of trusted certificates, from the variables that curl and OpenSSL users set.
struct CertificateSettings: Sendable {
  private let file: String?
  private let folder: String?

  init(environment: [String: String]) {
    func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    file = value("CURL_CA_BUNDLE") ?? value("SSL_CERT_FILE")
    folder = value("SSL_CERT_DIR")
  }

  func apply(to handle: OpaquePointer) {
    if let file { _ = ccurl_set_string(handle, CURLOPT_CAINFO, file) }
    if let folder { _ = ccurl_set_string(handle, CURLOPT_CAPATH, folder) }
  }
}
