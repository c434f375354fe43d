import Content
import Foundation
import OCI
import Synchronization
import TestSupport
import Testing

/// The matrix of docs/errors.md, row by row: the result for a reader, the exit status of a command, the log,
/// and whether the request was sent again.
@Suite(.serialized) struct FaultMatrixTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  /// Returns a different model for each fault, as wrong bytes are remembered by digest.
  private static func model(_ number: Int) -> [UInt8] { ModelFile.gguf(300_000, seed: 500 + UInt64(number)) }

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
  }

  /// The faults with their names in the document; each applies to every matching request.
  private static let faults:
    [(name: String, answer: @Sendable (HTTPServer.Request, HTTPServer.Answer) -> HTTPServer.Answer?)] = {
      func manifest(
        _ answer: HTTPServer.Answer
      ) -> @Sendable (HTTPServer.Request, HTTPServer.Answer) -> HTTPServer.Answer? {
        { request, _ in request.path.contains("/manifests/") ? answer : nil }
      }
      func blob(
        _ change: @escaping @Sendable (HTTPServer.Answer) -> HTTPServer.Answer
      ) -> @Sendable (HTTPServer.Request, HTTPServer.Answer) -> HTTPServer.Answer? {
        { request, truth in request.path.contains("/blobs/") ? change(truth) : nil }
      }
      let page = HTTPServer.Answer(
        200,
        headers: [("Content-Type", "text/html")],
        body: Array("<html>log in here</html>".utf8)
      )
      return [
        ("manifest: 404", manifest(.init(404))), ("manifest: 401 without a challenge", manifest(.init(401))),
        ("manifest: 403", manifest(.init(403))), ("manifest: 429", manifest(.init(429))),
        ("manifest: 500", manifest(.init(500))), ("manifest: a page of HTML", manifest(page)),
        (
          "manifest: no JSON",
          { request, truth in
            guard request.path.contains("/manifests/"), request.method == "GET" else { return nil }
            var answer = truth
            answer.body = Array("{".utf8)
            return answer
          }
        ),
        ("blob: 404", blob { _ in .init(404) }), ("blob: 403", blob { _ in .init(403) }),
        ("blob: 503", blob { _ in .init(503) }), ("blob: a page of HTML", blob { _ in page }),
        (
          "blob: wrong bytes",
          blob { truth in
            var answer = truth
            answer.body = answer.body.map { $0 ^ 0x5a }
            return answer
          }
        ),
        (
          "blob: a body that is cut",
          blob { truth in
            var answer = truth
            answer.cutAfter = 0
            return answer
          }
        ),
        (
          "blob: nothing comes",
          blob { truth in
            var answer = truth
            answer.stallAfter = 0
            return answer
          }
        ),
        (
          "blob: Content-Encoding",
          blob { truth in
            var answer = truth
            answer.headers.append(("Content-Encoding", "gzip"))
            return answer
          }
        ),
        (
          "blob: a wrong Content-Range",
          blob { truth in
            var answer = truth
            answer.status = 206
            answer.headers = answer.headers.filter { $0.0 != "Content-Range" }
            answer.headers.append(("Content-Range", "bytes 7-8/9"))
            return answer
          }
        ),
        (
          "blob: a redirect to itself",
          { request, _ in
            request.path.contains("/blobs/") ? .init(302, headers: [("Location", request.path)]) : nil
          }
        ),
      ]
    }()

  @Test func everyFaultHasItsRow() throws {
    let rows = try FaultMatrix().rows
    #expect(Set(rows.map(\.fault)) == Set(Self.faults.map(\.name)).union(FaultMatrixHostTests.faults))
    #expect(Set(rows.map(\.fault)).count == rows.count, "no fault has two rows")
  }

  @Test func everyRowIsTrue() async throws {
    let matrix = try FaultMatrix()
    for number in Self.faults.indices {
      try registry.add(files: ["model.gguf": Self.model(number)], repository: "fault/f\(number)", tag: "t")
    }
    let registry = registry
    registry.setFault { request, _ in
      let parts = request.path.split(separator: "/")
      guard parts.count > 2, parts[1] == "fault", let number = Int(parts[2].dropFirst()) else { return nil }
      return Self.faults[number].answer(request, registry.truth(request))
    }
    let mount = try await MountProcess(folder, ["--fill", "demand", "--timeout", "15", "--retry-for", "8"])
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (number, fault) in Self.faults.enumerated() {
        // A few in parallel, as most of the time is spent between attempts.
        if number >= 4 { try await group.next() }
        group.addTask {
          try await matrix.check(fault.name, "\(registry.host)/fault/f\(number):t", mount) {
            try await cat("fault/f\(number)")
          }
        }
      }
      try await group.waitForAll()
    }
  }

  /// Runs `weightfs cat` with a root of its own; requests are those that the registry has seen.
  private func cat(_ repository: String) async throws -> (result: Command.Result, requests: Int) {
    func asked() -> [String: Int] {
      registry.server.requests.filter { $0.path.contains("/\(repository)/") }
        .reduce(into: [:]) { $0["\($1.method) \($1.path)", default: 0] += 1 }
    }
    let before = asked()
    let result = try await WeightfsCommand.run(
      "cat \(registry.host)/\(repository):t model.gguf --timeout 15 --retry-for 8 >/dev/null",
      in: folder,
      root: "own/\(repository)"
    )
    return (result, asked().map { $1 - (before[$0] ?? 0) }.max() ?? 0)
  }
}
