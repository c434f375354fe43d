import Content
import OCI
import Registry
import TestSupport
import Testing

/// A response is valid, or it is refused before its first byte is accepted.
struct ResponseTests {
  private let fixture: RegistryFixture

  init() throws { fixture = try RegistryFixture() }

  @Test(arguments: [
    (206, [("Content-Encoding", "gzip")], "Content-Encoding: gzip"),
    (200, [("Content-Encoding", "br")], "Content-Encoding: br"),
    (206, [("Content-Type", "multipart/byteranges; boundary=x")], "multipart/byteranges"),
    (206, [("Content-Range", "bytes 0-99/7")], "a blob of 7 bytes"),
    (206, [("Content-Range", "bytes 1-100/300000")], "bytes 1..<101, requested"),
    (206, [("Content-Range", "bytes 0-98/300000")], "Content-Length: 100 for the 99 bytes"),
    (206, [("Content-Range", "pages 1-2")], "without a Content-Range"),
  ])
  func headersThatContradictTheRequestAreRefused(
    _ status: Int,
    _ headers: [(String, String)],
    _ reason: String
  ) async throws {
    let blob = fixture.blob
    fixture.registry.setFault { request, _ in
      guard request.path.contains("/blobs/") else { return nil }
      var all = headers
      if status == 206, !headers.contains(where: { $0.0 == "Content-Range" }) {
        all.append(("Content-Range", "bytes 0-99/300000"))
      }
      return .init(status, headers: all, body: status == 200 ? blob : Array(blob.prefix(100)))
    }
    let sink = CollectingSink(size: 300_000)
    let descriptor = fixture.registry.add(blob: fixture.blob)
    let repository = try fixture.repository()
    let error = await fixture.failure { try await repository.fetch(descriptor, range: 0..<100, into: sink) }
    #expect(error?.code == .corrupt)
    #expect(error?.reason.contains(reason) ?? false, "\(error?.reason ?? "")")
    #expect(error?.reason.contains(fixture.registry.host) ?? false, "the host that answered is named")
    #expect(sink.received == 0)
    #expect(fixture.registry.blobRequests.count == 1, "no loop")
  }

  @Test func aPageOfTheBlobsLengthIsNoBlob() async throws {
    var page = Array("<html>Log in</html>".utf8)
    page += [UInt8](repeating: 0x20, count: fixture.blob.count - page.count)
    let text = page
    fixture.registry.setFault { request, _ in
      request.path.contains("/blobs/")
        ? .init(200, headers: [("Content-Type", "text/html")], body: text) : nil
    }
    let repository = try fixture.repository()
    let error = await fixture.failure { try await fixture.fetch(0..<100, repository) }
    #expect(error?.code == .corrupt)
    #expect(error?.reason.contains("Content-Type: text/html") ?? false, "\(error?.reason ?? "")")
  }

  @Test func aPageInPlaceOfABlobIsQuoted() async throws {
    fixture.registry.setFault { request, _ in
      guard request.path.contains("/blobs/") else { return nil }
      var answer = HTTPServer.Answer(
        200,
        headers: [("Content-Type", "text/html; charset=utf-8"), ("Transfer-Encoding", "chunked")],
        body: Array("2b\r\n<html>\u{1b}[31m  Log in to the guest network</html>\r\n0\r\n\r\n".utf8)
      )
      answer.omitsLength = true
      return answer
    }
    let repository = try fixture.repository()
    let error = await fixture.failure { try await fixture.fetch(0..<100, repository) }
    #expect(error?.code == .corrupt)
    #expect(error?.reason.contains("Log in to the guest network") ?? false, "\(error?.reason ?? "")")
    #expect(!(error?.reason.contains("\u{1b}") ?? true))
  }

  @Test(arguments: [201, 203, 226])
  func anotherSuccessThanWasAskedForIsNamed(_ status: Int) async throws {
    let blob = fixture.blob
    fixture.registry.setFault { request, _ in
      request.path.contains("/blobs/") ? .init(status, body: blob) : nil
    }
    let repository = try fixture.repository()
    let error = await fixture.failure { _ = try await fixture.fetch(10..<20, repository) }
    #expect(error?.code == .corrupt)
    #expect(error?.reason.contains("status \(status)") ?? false, "\(error?.reason ?? "")")
  }

  @Test func aRangeThatIsRightIsTakenWhateverItsType() async throws {
    let registry = fixture.registry
    registry.setFault { request, _ in
      var answer = registry.truth(request)
      answer.headers.append(("Content-Type", "text/html"))
      return answer
    }
    let repository = try fixture.repository()
    #expect(
      Array(try await fixture.fetch(10..<20, repository).bytes[10..<20]) == Array(fixture.blob[10..<20])
    )
  }

  @Test func shortRangesAreProgressWithoutDelay() async throws {
    let blob = fixture.blob
    fixture.registry.setFault { request, _ in
      guard let range = request.range(size: blob.count) else { return nil }
      let short = range.lowerBound..<min(range.upperBound, range.lowerBound + 5000)
      return .init(
        206,
        headers: [("Content-Range", "bytes \(short.lowerBound)-\(short.upperBound - 1)/\(blob.count)")],
        body: Array(blob[short])
      )
    }
    // With delays the test would take ten minutes.
    let repository = try fixture.repository { $0.retry.firstDelay = .seconds(10) }
    let start = ContinuousClock.now
    let sink = try await fixture.fetch(1..<300_000, repository)
    #expect(sink.bytes[1...] == fixture.blob[1...])
    #expect(sink.received == 299_999)
    #expect(ContinuousClock.now - start < .seconds(120))
  }

  @Test func answersOfAByteEachAreNotAskedForWithoutEnd() async throws {
    let blob = fixture.blob
    fixture.registry.setFault { request, _ in
      guard let range = request.range(size: blob.count) else { return nil }
      let first = range.lowerBound
      return .init(
        206,
        headers: [("Content-Range", "bytes \(first)-\(first)/\(blob.count)")],
        body: [blob[first]]
      )
    }
    let repository = try fixture.repository {
      $0.retry.firstDelay = .milliseconds(100)
      $0.retry.retryFor = .seconds(1)
    }
    let error = await fixture.failure { try await fixture.fetch(1..<300_000, repository) }
    #expect(error?.code == .unreachable)
    #expect(fixture.registry.blobRequests.count < 60)
  }

  @Test func rangesAndTheirAbsenceAreTold() async throws {
    let repository = try fixture.repository()
    #expect(!repository.hasProvenRanges)
    #expect(try await fixture.fetch(5..<10, repository).signals.contains(.ranges))
    #expect(repository.hasProvenRanges)
    let blob = fixture.blob
    fixture.registry.setFault { _, _ in .init(200, body: blob) }
    #expect(try await fixture.fetch(5..<10, repository).signals.contains(.noRanges))
    #expect(!repository.hasProvenRanges && !repository.servesRanges)
  }
}
