import Content
import HTTP
import OCI

/// Requests a small document from a registry: a manifest's descriptor, a page of tags, or a page of the
/// catalog.
///
/// The caller judges an unsuccessful status; only requests that were never answered throw.
struct DocumentExchange: Exchange {
  let repository: RegistryRepository
  let subject: String
  let method: HTTPRequest.Method
  /// The path below the repository's address, or below the registry's address if `isOutside` is set.
  let path: String
  /// The accepted media types, in order of preference.
  var accept: [MediaType] = []
  /// The maximum size of the body in bytes.
  let limit: Int
  var isOutside = false

  /// The last response and its complete body.
  private(set) var answer: (response: HTTPResponse, body: [UInt8])?
  /// The error of an unsuccessful answer that no remedy is left for.
  private(set) var problem: ContentError?

  var isDocument: Bool { true }

  var home: RequestURL? {
    get throws(ContentError) { try address }
  }

  private var address: RequestURL {
    get throws(ContentError) { try repository.address(path, isOutside: isOutside) }
  }

  mutating func next() throws(ContentError) -> HTTPRequest? {
    if let answer, answer.response.isSuccess || problem != nil { return nil }
    // The address is built for each attempt: the scheme of the registry may have been detected in the
    // meantime.
    var request = HTTPRequest(method, try address)
    request.accept(accept)
    return request
  }

  mutating func send(_ request: HTTPRequest) async -> (outcome: ExchangeOutcome, isProgress: Bool) {
    switch await repository.client.exchange(request, limit: limit) {
    case .success(let answer):
      self.answer = answer
      guard !answer.response.isSuccess else { return (.delivered(answer.response), true) }
      let origin = origin(of: answer.response, request)
      return (.answered(answer.response, excerpt: answer.body, from: origin), false)
    case .failure(let error): return (.failed(error), false)
    }
  }

  /// Makes the last refusal the answer of the exchange.
  mutating func end(_ response: HTTPResponse, _ problem: ContentError) throws(ContentError) {
    self.problem = problem
  }
}

/// The last answer to a document request; the caller judges its status.
struct DocumentAnswer: Sendable {
  let response: HTTPResponse
  let body: [UInt8]
  /// The error to throw if the caller does not accept the status.
  let refusal: ContentError
}

extension HTTPRequest {
  /// Adds an Accept header, unless any type is accepted.
  ///
  /// - Parameter types: The accepted media types, in order of preference.
  mutating func accept(_ types: [MediaType]) {
    guard !types.isEmpty else { return }
    headers.append(("Accept", types.map(\.rawValue).joined(separator: ", ")))
  }
}
