import Dispatch
import Glibc
import HTTP
import Synchronization
import Telemetry
import TestSupport
import Testing

/// Counts the bytes of a response that can wait.
private final class CountingReceiver: ResponseReceiver {
  private let bytes = Atomic(0)

  var count: Int { bytes.load(ordering: .relaxed) }
  var canWait: Bool { true }
  func receive(_ response: HTTPResponse) -> Bool { true }
  func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
    self.bytes.add(bytes.count, ordering: .relaxed)
    // Slow enough that the transfer does not end before it can be paused.
    usleep(500)
    return true
  }
  func finish(_ error: HTTPError?) {}
}

struct TransferThreadTests {
  private let thread = TransferThread(metrics: Metrics(), environment: [:])

  private func url(_ server: HTTPServer, _ path: String = "/x") throws -> RequestURL {
    try #require(RequestURL("http://127.0.0.1:\(server.port)\(path)"))
  }

  private func fail(_ request: HTTPRequest, limit: Int = 1 << 20) async -> HTTPError? {
    do throws(HTTPError) {
      _ = try await thread.send(request, limit: limit)
      return nil
    } catch {
      return error
    }
  }

  @Test func sendsRangesOverOneConnection() async throws {
    let bytes = SeededGenerator.bytes(10_000, seed: 7)
    let server = try HTTPServer { request in
      guard let range = request.range(size: bytes.count) else { return .init(200, body: bytes) }
      return .init(206, body: Array(bytes[range]))
    }
    defer { server.stop() }
    for start in [0, 5000, 9999] {
      var request = HTTPRequest(.get, try url(server))
      request.range = Int64(start)..<Int64(min(start + 100, 10_000))
      let (response, body) = try await thread.send(request, limit: 1000)
      #expect(response.status == 206)
      #expect(body == Array(bytes[start..<min(start + 100, 10_000)]))
    }
    #expect(server.connectionCount == 1)
    #expect(server.requests.allSatisfy { $0.headers["accept-encoding"] == "identity" })
  }

  @Test func aNewConnectionIsMadeOnRequest() async throws {
    let server = try HTTPServer { _ in .init(200, body: [1]) }
    defer { server.stop() }
    var request = HTTPRequest(.get, try url(server))
    _ = try await thread.send(request, limit: 10)
    _ = try await thread.send(request, limit: 10)
    #expect(server.connectionCount == 1)
    request.usesNewConnection = true
    _ = try await thread.send(request, limit: 10)
    #expect(server.connectionCount == 2)
  }

  @Test func whatCanWaitStandsStillWhileSomethingElseCannot() async throws {
    let gate = DispatchSemaphore(value: 0)
    let size = 40 << 20
    let server = try HTTPServer { request in
      if request.path == "/urgent" {
        gate.wait()
        return .init(200, body: [7])
      }
      return .init(200, body: [UInt8](repeating: 1, count: size))
    }
    defer { server.stop() }
    let urgent = try url(server, "/urgent")
    async let answer = thread.send(HTTPRequest(.get, urgent), limit: 10)
    #expect(await eventually { server.requests.contains { $0.path == "/urgent" } })
    let patient = CountingReceiver()
    thread.start(HTTPRequest(.get, try url(server, "/large")), receiver: patient)
    #expect(await eventually { patient.count > 0 })
    // The transfer pauses, and stays paused.
    #expect(
      await eventually {
        let before = patient.count
        try? await Task.sleep(for: .milliseconds(300))
        return patient.count == before
      }
    )
    #expect(patient.count < size)
    gate.signal()
    #expect(try await answer.body == [7])
    #expect(await eventually { patient.count == size })
  }

  @Test func headHasNoBodyAndPostSendsOne() async throws {
    let server = try HTTPServer { .init(200, headers: [("X-Method", $0.method)], body: $0.body) }
    defer { server.stop() }
    let head = try await thread.send(HTTPRequest(.head, try url(server)), limit: 10)
    #expect(head.response.header("x-method") == "HEAD")
    #expect(head.body.isEmpty)
    let post = try await thread.send(
      HTTPRequest(.post, try url(server), body: Array("hello".utf8)),
      limit: 10
    )
    #expect(post.body == Array("hello".utf8))
  }

  @Test func followsRedirectsWithoutTheAuthorizationOfAnotherHost() async throws {
    let target = try HTTPServer { _ in .init(200, body: [1, 2, 3]) }
    let port = target.port
    let server = try HTTPServer { _ in
      .init(307, headers: [("Location", "http://127.0.0.1:\(port)/signed?s=1")])
    }
    defer {
      target.stop()
      server.stop()
    }
    let request = HTTPRequest(.get, try url(server), authorization: Secret("Bearer t"), range: 0..<3)
    let (response, body) = try await thread.send(request, limit: 10)
    #expect(body == [1, 2, 3])
    #expect(response.url.text == "http://127.0.0.1:\(port)/signed?s=1")
    #expect(server.requests.first?.headers["authorization"] == "Bearer t")
    #expect(target.requests.first?.headers["authorization"] == nil)
    #expect(target.requests.first?.headers["range"] == "bytes=0-2")
  }

  @Test func aCircleOfRedirectsEnds() async throws {
    let server = try HTTPServer { _ in .init(302, headers: [("Location", "/again")]) }
    defer { server.stop() }
    #expect(await fail(HTTPRequest(.get, try url(server)))?.code == .redirect)
    #expect(server.requests.count == 11)
  }

  @Test func aCutBodyIsAnError() async throws {
    let server = try HTTPServer { _ in
      var answer = HTTPServer.Answer(200, body: [UInt8](repeating: 1, count: 1000))
      answer.cutAfter = 500
      return answer
    }
    defer { server.stop() }
    #expect(await fail(HTTPRequest(.get, try url(server)))?.code == .broken)
  }

  @Test func aStalledPeerTimesOut() async throws {
    let server = try HTTPServer { _ in
      var answer = HTTPServer.Answer(200, body: [UInt8](repeating: 1, count: 1000))
      answer.stallAfter = 500
      return answer
    }
    defer { server.stop() }
    var request = HTTPRequest(.get, try url(server))
    request.stallTimeout = .seconds(1)
    let start = ContinuousClock.now
    #expect(await fail(request)?.code == .timedOut)
    #expect(ContinuousClock.now - start < .seconds(90))
  }

  @Test func aLongBodyIsNotReadWhole() async throws {
    let server = try HTTPServer { _ in .init(200, body: [UInt8](repeating: 1, count: 8 << 20)) }
    defer { server.stop() }
    #expect(await fail(HTTPRequest(.get, try url(server)), limit: 1000)?.reason.contains("1000") == true)
  }

  @Test func endlessHeadersAreRefused() async throws {
    let server = try HTTPServer { _ in
      .init(200, headers: (0..<4000).map { ("X-\($0)", String(repeating: "a", count: 100)) })
    }
    defer { server.stop() }
    #expect(await fail(HTTPRequest(.get, try url(server))) != nil)
  }

  @Test func nobodyListeningIsUnreachable() async throws {
    let server = try HTTPServer { _ in .init(200) }
    let address = try url(server)
    server.stop()
    #expect(await fail(HTTPRequest(.get, address))?.code == .unreachable)
  }

  @Test func cancellationEndsARequestThatWaits() async throws {
    let server = try HTTPServer { _ in
      var answer = HTTPServer.Answer(200, body: [1, 2])
      answer.stallAfter = 1
      return answer
    }
    defer { server.stop() }
    let request = HTTPRequest(.get, try url(server))
    let thread = thread
    let task = Task { await TransferThreadTests.outcome(thread, request) }
    #expect(await eventually { !server.requests.isEmpty })
    task.cancel()
    #expect(await task.value?.code == .cancelled)
  }

  private static func outcome(_ thread: TransferThread, _ request: HTTPRequest) async -> HTTPError? {
    do throws(HTTPError) {
      _ = try await thread.send(request, limit: 100)
      return nil
    } catch {
      return error
    }
  }

  @Test func headersCannotBeSmuggledIn() async throws {
    let server = try HTTPServer { _ in .init(200) }
    defer { server.stop() }
    let request = HTTPRequest(.get, try url(server), headers: [("X-A", "1\r\nX-B: 2")])
    _ = try await thread.send(request, limit: 10)
    #expect(server.requests.first?.headers["x-b"] == nil)
  }
}
