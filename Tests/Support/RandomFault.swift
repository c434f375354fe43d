/// A fault of a registry or of a proxy in front of it; the same for the same seed.
package struct RandomFault: Sendable {
  /// The requests that have the fault.
  private enum Stage: CaseIterable {
    case resolution, manifest, blob, tags, everything
  }

  private let stage: Stage
  /// Number of requests with the fault; later requests get the regular answer.
  private let limit: Int
  private let seed: UInt64
  /// The name of the fault, for messages.
  package let name: String

  private static let kinds = [
    "status", "redirect", "challenge", "cut", "stall", "drip", "range", "length", "encoding", "bytes", "page",
    "headers", "empty",
  ]
  private let kind: String

  /// Creates the fault of a seed.
  package init(seed: UInt64) {
    var chance = SeededGenerator(seed: seed)
    self.seed = seed
    stage = Stage.allCases.randomElement(using: &chance) ?? .everything
    limit = [1, 3, Int.max].randomElement(using: &chance) ?? 1
    kind = Self.kinds.randomElement(using: &chance) ?? "status"
    name = "seed \(seed): \(kind) at \(stage), \(limit == .max ? "always" : "\(limit) times")"
  }

  /// Returns the faulty answer, or nil if the fault does not apply to this request.
  ///
  /// - Parameters:
  ///   - request: The request.
  ///   - truth: The regular answer.
  ///   - count: The number of requests that had this fault already.
  package func answer(
    _ request: HTTPServer.Request,
    truth: HTTPServer.Answer,
    count: Int
  ) -> HTTPServer.Answer? {
    guard count < limit, hits(request) else { return nil }
    var chance = SeededGenerator(seed: seed &+ UInt64(count) &* 77)
    var answer = truth
    switch kind {
    case "status":
      answer.status =
        [204, 206, 300, 304, 400, 401, 403, 404, 405, 408, 410, 416, 418, 429, 500, 502, 503, 504, 999]
        .randomElement(using: &chance) ?? 500
      let waits = ["0", "1", "-1", "99999999999999999999", "soon", "Wed, 21 Oct 2099 07:28:00 GMT"]
      answer.headers.append(("Retry-After", waits.randomElement(using: &chance) ?? ""))
    case "redirect":
      let targets = [
        request.path, "/v2/", "", "//", "http://[", "file:///etc/passwd", "http://127.0.0.1:1/x",
        "gopher://127.0.0.1/",
        "http://169.254.169.254/latest", "\u{1b}[2J", String(repeating: "a", count: 20_000),
      ]
      answer = .init([301, 302, 303, 307, 308].randomElement(using: &chance) ?? 302)
      answer.headers = [("Location", targets.randomElement(using: &chance) ?? "")]
    case "challenge":
      let texts = [
        "Bearer", "Bearer realm=", "Bearer realm=\"http://127.0.0.1:1/token\"", "Basic", "Digest x",
        "Bearer realm=\"x",
        "Bearer realm=\"file:///etc/passwd\",scope=\"\u{1b}\"",
        String(repeating: "Bearer a=\"b\",", count: 2000), "",
      ]
      answer = .init(401, headers: [("WWW-Authenticate", texts.randomElement(using: &chance) ?? "")])
    case "cut": answer.cutAfter = Int.random(in: 0...max(1, answer.body.count - 1), using: &chance)
    case "stall": answer.stallAfter = Int.random(in: 0...max(1, answer.body.count - 1), using: &chance)
    case "drip": answer.rate = Int.random(in: 1...200, using: &chance)
    case "range":
      let ranges = [
        "bytes 0-0/1", "bytes 5-1/9", "bytes */*", "bytes 0-99999999999999999999/5", "octets 0-1/2", "",
        "bytes 0-1/*",
      ]
      answer.headers = answer.headers.filter { $0.0 != "Content-Range" }
      answer.headers.append(("Content-Range", ranges.randomElement(using: &chance) ?? ""))
    case "length":
      answer.declaredLength = [0, 1, answer.body.count + 1, answer.body.count + 100_000, -1, Int.max]
        .randomElement(using: &chance)
    case "encoding":
      let types = [
        ("Content-Encoding", "gzip"), ("Content-Encoding", "br"),
        ("Content-Type", "multipart/byteranges; boundary=x"),
        ("Content-Type", "text/html"), ("Content-Type", "\u{1b}[31m"), ("Transfer-Encoding", "chunked"),
        ("Docker-Content-Digest", "sha256:00"),
      ]
      answer.headers = answer.headers.filter { $0.0 != "Content-Type" && $0.0 != "Docker-Content-Digest" }
      answer.headers.append(types.randomElement(using: &chance) ?? ("", ""))
    case "bytes":
      if !answer.body.isEmpty { answer.body[Int.random(in: 0..<answer.body.count, using: &chance)] ^= 0x40 }
    case "page":
      answer = .init(200, headers: [("Content-Type", "text/html")], body: Array("<html>\u{1b}[2Jlog in".utf8))
    case "headers":
      answer.headers += (0..<[10, 500, 5000][Int.random(in: 0..<3, using: &chance)]).map {
        ("X-\($0)", String(repeating: "y", count: 100))
      }
    default:
      answer = .init(200)
      answer.headers = truth.headers
    }
    return answer
  }

  private func hits(_ request: HTTPServer.Request) -> Bool {
    let isManifest = request.path.contains("/manifests/")
    switch stage {
    case .everything: return true
    case .tags: return request.path.contains("/tags/")
    case .blob: return request.path.contains("/blobs/")
    case .resolution: return isManifest && request.method == "HEAD"
    case .manifest: return isManifest && request.method == "GET"
    }
  }
}
