import Content
import HTTP
import OCI
import Registry
import TestSupport
import Testing

/// Accepts a blob whose file has a name that promises a format.
private final class PromisingSink: BlobSink {
  private let magic: ModelMagic
  private let size: Int64
  private let sink: CollectingSink

  init(_ name: String, size: Int) throws {
    magic = try #require(ModelMagic(name: name))
    self.size = Int64(size)
    sink = CollectingSink(size: size)
  }

  var received: Int { sink.received }

  func receive(_ bytes: UnsafeRawBufferPointer, at offset: Int64) -> Bool { sink.receive(bytes, at: offset) }
  func doubt(ofFirst bytes: UnsafeRawBufferPointer, at offset: Int64) -> String? {
    offset == 0 ? magic.doubt(bytes, size: size) : nil
  }
}

/// A response of status 200 that declares a text, and is no page of HTML: the name of the file decides.
struct TextInPlaceTests {
  private let fixture: RegistryFixture
  private static let text = Array(String(repeating: "Please accept the licence. ", count: 20_000).utf8)

  init() throws { fixture = try RegistryFixture() }

  /// Answers every request for a blob with a text type.
  private func answer(_ body: some Sequence<UInt8>, _ type: String) {
    let body = Array(body)
    fixture.registry.setFault { request, _ in
      request.path.contains("/blobs/") ? .init(200, headers: [("Content-Type", type)], body: body) : nil
    }
  }

  @Test(
    arguments: ["model.gguf", "MODEL.GGUF", "a/b.safetensors"],
    ["text/plain", "Text/Plain; charset=utf-8", "text/csv"]
  )
  func aTextInPlaceOfAModelIsRefusedBeforeItsFirstByte(_ name: String, _ type: String) async throws {
    answer(Self.text.prefix(fixture.blob.count), type)
    let descriptor = fixture.registry.add(blob: fixture.blob)
    let repository = try fixture.repository()
    for range in [0..<100, 0..<descriptor.size] as [Range<Int64>] {
      fixture.registry.server.forgetRequests()
      let sink = try PromisingSink(name, size: fixture.blob.count)
      let error = await fixture.failure { try await repository.fetch(descriptor, range: range, into: sink) }
      #expect(error?.code == .corrupt)
      let reason = error?.reason ?? ""
      #expect(reason.contains("Content-Type: \(type), in place of the blob"), "\(reason)")
      #expect(reason.contains(fixture.registry.host), "the host that answered is named")
      #expect(sink.received == 0)
      #expect(fixture.registry.blobRequests.count == 1, "no loop")
    }
  }

  @Test func aModelThatIsDeclaredAsTextIsAccepted() async throws {
    answer(fixture.blob, "text/plain")
    let sink = try PromisingSink("model.gguf", size: fixture.blob.count)
    let descriptor = fixture.registry.add(blob: fixture.blob)
    try await fixture.repository().fetch(descriptor, range: 0..<descriptor.size, into: sink)
    #expect(sink.received == fixture.blob.count)
  }

  @Test func aTextUnderANameThatPromisesNothingIsForTheDigestToJudge() async throws {
    answer(Self.text.prefix(fixture.blob.count), "text/plain")
    let sink = try await fixture.fetch(0..<Int64(fixture.blob.count), fixture.repository())
    #expect(sink.received == fixture.blob.count)
  }
}
