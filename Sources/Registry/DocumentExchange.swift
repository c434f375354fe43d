import Content
import HTTP
import OCI

/// Asks a registry for something small: a manifest's descriptor, a page of tags, a page of the catalog.
///
/// A status that is no success is the caller's to judge; only requests that were never answered throw.
struct DocumentExchange: Exchange {
  let repository: RegistryRepository
  let subject: String
  let method: HTTPRequest.Method
  /// Below the repository's address, or below the registry's where `isOutside`.
  let path: String
  /// Types, best first.
  let accept: [MediaType]
  /// Of the body, in bytes.
  let limit: Int
  let isOutside: Bool

  private var isOver = false
  /// The last response and its complete body.
  private(set) var answer: (response: HTTPResponse, body: [UInt8])?
  /// The reason why the answer is no success, where it is not the last response's own.
  private(set) var problem: ContentError?

  init(
    _ repository: RegistryRepository,
    _ method: HTTPRequest.Method,
    _ path: String,
    subject: String,
    accept: [MediaType] = [],
    limit: Int,
    isOutside: Bool = false
  ) {
    self.repository = repository
    self.subject = subject
    self.method = method
    self.path = path
    self.accept = accept
    self.limit = limit
    self.isOutside = isOutside
  }

  var isDocument: Bool { true }

  var home: RequestURL {
    get throws(ContentError) { try repository.address(path, isOutside: isOutside) }
  }

  mutating func next() throws(ContentError) -> HTTPRequest? {
    if let answer, answer.response.isSuccess || isOver { return nil }
    // The address is made again each time: the scheme that the registry speaks may have been found meanwhile.
    var request = HTTPRequest(method, try home)
    request.totalTimeout = repository.client.configuration.stallTimeout * 2
    if !accept.isEmpty {
      request.headers.append(("Accept", accept.map(\.rawValue).joined(separator: ", ")))
    }
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

  /// Makes the last refusal the answer.
  mutating func end(_ response: HTTPResponse, _ problem: ContentError) throws(ContentError) {
    isOver = true
    self.problem = problem
  }
}

/// The last answer to a request for a document; its status is the caller's to judge.
struct DocumentAnswer: Sendable {
  let response: HTTPResponse
  let body: [UInt8]
  /// The error to throw where the status is not what the caller takes.
  let refusal: ContentError
}
