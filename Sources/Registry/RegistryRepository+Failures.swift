import Content
import HTTP
import OCI

/// The errors of registries, storage hosts and token servers, as shown to the user.
extension RegistryRepository {
  /// Returns the error for an unsuccessful response.
  ///
  /// - Parameters:
  ///   - response: A response with an unsuccessful status.
  ///   - excerpt: The first bytes of its body.
  ///   - subject: The requested object.
  func failure(_ response: HTTPResponse, _ excerpt: [UInt8], subject: String) -> ContentError {
    if isElsewhere(response.url) {
      return storageFailure(response, excerpt, subject: subject)
    }
    let host = name.registry
    switch response.status {
    case 404:
      return ContentError(.notFound, subject, host: host, "the registry does not have it")
    case 401, 403:
      return ContentError(
        .unauthorized,
        subject,
        host: host,
        "the registry refused (status \(response.status))",
        advice: "Log in with 'podman login \(host)' or 'docker login \(host)'"
      )
    case 429:
      return ContentError(
        .unreachable,
        subject,
        host: host,
        "the registry limits requests (status 429)",
        advice: "Try again later, or log in for a higher limit"
      )
    default:
      return ContentError(
        .unreachable,
        subject,
        host: host,
        "the registry answered with status \(response.status)"
      )
    }
  }

  /// Returns the error of a host that the registry redirected to: a login at the registry does not resolve
  /// it.
  private func storageFailure(_ response: HTTPResponse, _ excerpt: [UInt8], subject: String) -> ContentError {
    let host = response.url.endpoint
    let status = "(status \(response.status))\(quote(response, excerpt))"
    let advice = "The registry \(name.registry) redirected there; tell its operator"
    switch response.status {
    case 404:
      return ContentError(
        .notFound,
        subject,
        host: host,
        "the storage host \(host) does not have it \(status)",
        advice: advice
      )
    case 401, 403:
      return ContentError(
        .unauthorized,
        subject,
        host: host,
        "the storage host \(host) refused \(status)",
        advice: advice
      )
    case 429:
      return ContentError(
        .unreachable,
        subject,
        host: host,
        "the storage host \(host) limits requests (status 429)",
        advice: "Try again later"
      )
    default:
      return ContentError(
        .unreachable,
        subject,
        host: host,
        "the storage host \(host) answered \(status)",
        advice: advice
      )
    }
  }

  /// Returns the first bytes of a text body, for a message.
  ///
  /// - Returns: An empty string if the body is not text, or if it comes from a private network that another
  ///   registry redirected to: such a body must not reach the registry's users.
  func quote(_ response: HTTPResponse?, _ excerpt: [UInt8]) -> String {
    guard let response, !excerpt.isEmpty else { return "" }
    if response.peer == .privateNetwork, response.url.host != host { return "" }
    let type = response.header("content-type")?.lowercased() ?? "text/plain"
    let texts = ["text/", "application/json", "application/xml", "application/problem"]
    guard texts.contains(where: type.hasPrefix) else { return "" }
    return ": \"\(ForeignText.excerpt(excerpt))\""
  }

  /// Returns the error for a failed transfer.
  func failure(_ error: HTTPError, subject: String) -> ContentError {
    let code: ContentError.Code =
      switch error.code {
      case .timedOut: .timedOut
      case .cancelled, .stopped: .cancelled
      case .unreachable, .tls, .broken, .redirect, .refusedAddress: .unreachable
      case .tooLong: .invalid
      }
    return ContentError(
      code,
      subject,
      host: error.url?.endpoint ?? name.registry,
      error.reason,
      advice: advice(error),
      underlying: error
    )
  }

  private func advice(_ error: HTTPError) -> String? {
    switch error.code {
    case .unreachable: "Check the name of the registry, that it runs, and the network"
    case .broken: "The connection broke off: try again, and check the proxies in between"
    case .timedOut, .tls, .cancelled, .stopped, .redirect, .refusedAddress, .tooLong: nil
    }
  }
}

extension HTTPError {
  /// Whether another attempt may succeed.
  ///
  /// A transfer that timed out has used the time of its reader.
  var isTransient: Bool {
    switch code {
    case .unreachable, .broken: true
    case .timedOut, .tls, .cancelled, .stopped, .redirect, .refusedAddress, .tooLong: false
    }
  }
}
