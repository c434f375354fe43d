import Content
import HTTP
import OCI
import Telemetry

/// Requests a token from a token server; a 4xx answer is a refusal, which leaves `token` nil.
struct TokenExchange: Exchange {
  let request: TokenRequest

  private var credential: Credential?
  private var isRefused = false
  private(set) var token: (text: String, lifetime: Duration)?

  private static let limit = 1 << 20
  // The maximum size of a token in bytes; servers refuse larger headers.
  private static let longestToken = 65_536

  init(request: TokenRequest, credential: Credential?) {
    self.request = request
    self.credential = credential
  }

  var repository: RegistryRepository { request.repository }
  var subject: String { "a token for \(repository.name)" }
  var isDocument: Bool { true }
  var home: RequestURL? { nil }

  mutating func next() throws(ContentError) -> HTTPRequest? {
    guard token == nil, !isRefused else { return nil }
    do throws(HTTPError) {
      return try request.make(credential)
    } catch {
      throw problem(error)
    }
  }

  mutating func send(_ request: HTTPRequest) async -> (outcome: ExchangeOutcome, isProgress: Bool) {
    switch await repository.client.exchange(request, limit: Self.limit) {
    case .failure(let error): return (.failed(error), false)
    case .success(let (response, body)):
      guard response.isSuccess else {
        return (.answered(response, excerpt: body, from: .tokenServer), false)
      }
      guard let answer = TokenAnswer(body), answer.text.utf8.count <= Self.longestToken else {
        let problem = ContentError(
          .unreachable,
          subject,
          host: response.url.endpoint,
          "\(response.url) sent a response without a token\(repository.quote(response, body))"
        )
        return (.contradiction(problem), false)
      }
      token = (answer.text, answer.lifetime)
      repository.client.thread.metrics.tokens.add([response.url.host])
      return (.delivered(response), true)
    }
  }

  mutating func end(_ response: HTTPResponse, _ problem: ContentError) throws(ContentError) {
    if case .identityToken? = credential, response.status == 404 || response.status == 405 {
      // Servers that predate OAuth2 support only GET (distribution docs/content/spec/auth/token.md).
      credential = nil
      return
    }
    // Any 4xx may mean a name that does not exist or a wrong password.
    guard (400..<500).contains(response.status) else { throw problem }
    isRefused = true
  }

  func problem(_ response: HTTPResponse, _ excerpt: [UInt8]) -> ContentError {
    ContentError(
      .unreachable,
      subject,
      host: response.url.endpoint,
      "\(response.url) answered \(response.status) to the request for a token"
    )
  }
}

/// The body of a token server's response (distribution docs/content/spec/auth/token.md).
private struct TokenAnswer {
  let text: String
  let lifetime: Duration

  /// Parses a response, or returns nil if it has no token.
  init?(_ body: [UInt8]) {
    let fields: Fields
    do {
      fields = try JSONDocument.decode(Fields.self, from: body)
    } catch {
      return nil
    }
    guard let text = fields.text else { return nil }
    self.text = text
    // The specification's default is 60 s. A quarter is kept in reserve so that a token does not expire in
    // transit.
    let said = fields.lifetime.flatMap { $0.isFinite ? $0 : nil } ?? 60
    lifetime = .seconds(min(max(said, 5), 86_400) * 0.75)
  }

  private struct Fields: Decodable {
    let text: String?
    /// The lifetime in seconds.
    let lifetime: Double?

    private enum CodingKeys: String, CodingKey {
      case token
      case accessToken = "access_token"
      case lifetime = "expires_in"
    }

    // A field of another type counts as absent: names and types differ between servers.
    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      let texts = [CodingKeys.token, .accessToken].map { try? container.decode(String.self, forKey: $0) }
      text = texts.compactMap { $0 }.first { !$0.isEmpty }
      // Azure sends the number as a string.
      lifetime =
        (try? container.decode(Double.self, forKey: .lifetime))
        ?? (try? container.decode(String.self, forKey: .lifetime)).flatMap { Double($0) }
    }
  }
}
