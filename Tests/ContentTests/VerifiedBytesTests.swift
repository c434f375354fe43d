import Content
import OCI
import Synchronization
import TestSupport
import Testing

/// Content in memory, with faults.
private struct MemoryFetcher: BlobFetcher {
  var contents: [Digest: [UInt8]] = [:]
  var cutAfter = Int.max

  mutating func add(_ bytes: [UInt8], _ type: MediaType = MediaType(rawValue: "a/b")) -> Descriptor {
    let digest = Verification.digest(of: bytes)
    contents[digest] = bytes
    return Descriptor(mediaType: type, digest: digest, size: Int64(bytes.count))
  }

  func fetch(
    _ descriptor: Descriptor,
    range: Range<Int64>,
    into sink: any BlobSink
  ) async throws(ContentError) {
    guard let bytes = contents[descriptor.digest] else {
      throw ContentError(.notFound, "\(descriptor.digest)", "none")
    }
    var position = 0
    while position < min(bytes.count, cutAfter) {
      let end = min(position + 7, bytes.count, cutAfter)
      let wantsMore = bytes.withUnsafeBytes { buffer in
        sink.receive(UnsafeRawBufferPointer(rebasing: buffer[position..<end]), at: Int64(position))
      }
      guard wantsMore else { return }
      position = end
    }
  }
}

struct VerifiedBytesTests {
  private func code(_ body: () async throws(ContentError) -> Void) async -> ContentError.Code? {
    do throws(ContentError) {
      try await body()
      return nil
    } catch {
      return error.code
    }
  }

  @Test func rightBytesComeThrough() async throws {
    var fetcher = MemoryFetcher()
    let descriptor = fetcher.add(Array("hello, world".utf8))
    #expect(try await fetcher.verifiedBytes(of: descriptor, limit: 100) == Array("hello, world".utf8))
  }

  @Test func wrongShortLongAndLargeOnesDoNot() async {
    var fetcher = MemoryFetcher()
    let good = fetcher.add(Array("hello".utf8))
    var wrong = good
    wrong.digest = Verification.digest(of: [1])
    fetcher.contents[wrong.digest] = Array("hellO".utf8)
    #expect(
      await code { () throws(ContentError) in _ = try await fetcher.verifiedBytes(of: wrong, limit: 9) }
        == .corrupt
    )
    var long = good
    long.size = 4
    #expect(
      await code { () throws(ContentError) in _ = try await fetcher.verifiedBytes(of: long, limit: 9) }
        == .corrupt
    )
    var short = good
    short.size = 6
    #expect(
      await code { () throws(ContentError) in _ = try await fetcher.verifiedBytes(of: short, limit: 9) }
        == .corrupt
    )
    #expect(
      await code { () throws(ContentError) in _ = try await fetcher.verifiedBytes(of: good, limit: 4) }
        == .invalid
    )
  }

  @Test func contentInTheDescriptorIsTakenOnlyIfItIsRight() async throws {
    let fetcher = MemoryFetcher()
    var descriptor = Descriptor(
      mediaType: .empty,
      digest: Verification.digest(of: Array("{}".utf8)),
      size: 2
    )
    descriptor.data = Array("{}".utf8)
    #expect(try await fetcher.verifiedBytes(of: descriptor, limit: 2) == Array("{}".utf8))
    descriptor.data = Array("[]".utf8)
    #expect(
      await code { () throws(ContentError) in _ = try await fetcher.verifiedBytes(of: descriptor, limit: 2) }
        == .notFound
    )
  }

  @Test func indexesNestedAHundredDeepAreRefused() async throws {
    var fetcher = MemoryFetcher()
    var current = fetcher.add(Array(#"{"layers":[]}"#.utf8), .imageManifest)
    for _ in 0..<100 {
      current = fetcher.add(try JSONDocument.encode(Index(manifests: [current])), .imageIndex)
    }
    let root = current
    let copy = fetcher
    #expect(await code { () throws(ContentError) in _ = try await copy.manifest(root) } == .invalid)
  }
}

/// Counts the answers.
private final class CountingResponder: ReadResponder {
  let answers = Mutex<[String]>([])

  func answer(_ token: UInt, file descriptor: Int32, offset: Int64, count: Int, keepsPages: Bool) {
    answers.withLock { $0.append("\(token) file \(offset) \(count)") }
  }
  func answer(_ token: UInt, bytes: UnsafeRawBufferPointer) {
    answers.withLock { $0.append("\(token) bytes") }
  }
  func answer(_ token: UInt, error: ContentError) { answers.withLock { $0.append("\(token) \(error.code)") } }
}

struct ReadReplyTests {
  @Test func aReplyIsAnsweredOnceAndADroppedOneIsAnError() {
    let responder = CountingResponder()
    ReadReply(responder: responder, token: 1).file(3, offset: 4, count: 5)
    ReadReply(responder: responder, token: 2).bytes(UnsafeRawBufferPointer(start: nil, count: 0))
    ReadReply(responder: responder, token: 3).fail(ContentError(.timedOut, "", ""))
    do { _ = ReadReply(responder: responder, token: 4) }
    #expect(responder.answers.withLock { $0 } == ["1 file 4 5", "2 bytes", "3 timedOut", "4 disk"])
  }
}
