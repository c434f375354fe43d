@testable import Fetching
import LocalRegistry
import TestSupport
import Testing

struct TensorLayoutTests {
  private static let tensors = [("embedding", 4096), ("layer.0", 100), ("layer.1", 65_536)]

  private func layout(_ bytes: [UInt8]) -> TensorLayout? {
    if case .found(let layout) = TensorLayout.read(bytes, size: Int64(bytes.count)) { layout } else { nil }
  }

  @Test func safetensorsSayWhereTheirTensorsLie() throws {
    let bytes = ModelFile.safetensors(Self.tensors)
    let found = try #require(layout(bytes))
    #expect(found.tensors.map(\.name) == ["embedding", "layer.0", "layer.1"])
    #expect(found.tensors.map { $0.range.count } == [4096, 100, 65_536])
    #expect(found.tensors.last?.range.upperBound == Int64(bytes.count))
    #expect(found.tensor(at: found.headerEnd + 4096)?.name == "layer.0")
    #expect(found.tensor(at: 0) == nil)
    #expect(found.tensor(at: Int64(bytes.count)) == nil)
  }

  @Test func ggufSaysWhereItsTensorsLie() throws {
    let bytes = ModelFile.gguf(tensors: Self.tensors)
    let found = try #require(layout(bytes))
    #expect(found.headerEnd % 32 == 0)
    #expect(Int64(bytes.count) - found.headerEnd == 4096 + 128 + 65_536)
    #expect(found.tensors.map(\.name) == ["embedding", "layer.0", "layer.1"])
    #expect(found.tensor(at: found.headerEnd + 4096)?.name == "layer.0")
  }

  @Test(arguments: [10, 1000, 20_000])
  func aHeaderIsReadInFewSteps(_ vocabulary: Int) throws {
    let bytes = ModelFile.gguf(vocabulary: vocabulary, tensors: Self.tensors)
    let size = Int64(bytes.count)
    let end = try #require(layout(bytes)).headerEnd
    var reach: Int64 = 4096
    var steps = 1
    while case .more(let least, let likely) = TensorLayout.read(
      Array(bytes[..<Int(min(reach, size))]),
      size: size
    ) {
      #expect(least > reach && least <= end, "\(vocabulary)")
      reach = likely
      steps += 1
      try #require(steps < 20)
    }
    #expect(steps <= 3, "\(vocabulary)")
    #expect(reach <= end + (1 << 20), "\(vocabulary)")
  }

  @Test func otherFilesHaveNoTensors() {
    #expect(TensorLayout.read(Array("PK\u{3}\u{4} something else".utf8), size: 1000) == .none)
    #expect(TensorLayout.read([], size: 0) == .none)
    #expect(TensorLayout.read([1, 2], size: 2) == .none)
  }

  @Test(arguments: SeededGenerator.seeds(1...300))
  func damagedHeadersAreToldOrRefusedAndNothingElse(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var bytes =
      seed.isMultiple(of: 2)
      ? ModelFile.gguf(tensors: Self.tensors) : ModelFile.safetensors(Self.tensors)
    for _ in 0..<Int.random(in: 1...6, using: &generator) {
      let place = Int.random(in: 4..<min(600, bytes.count), using: &generator)
      bytes[place] =
        [0, 0xff, 0x7f, 0x80, UInt8.random(in: 0...255, using: &generator)].randomElement(using: &generator)
        ?? 0
    }
    let size = Int64(bytes.count)
    for count in [9, 24, 100, 300, 600, bytes.count] {
      switch TensorLayout.read(Array(bytes.prefix(count)), size: size) {
      case .none: break
      case .more(let least, let likely):
        #expect(least > Int64(count) && least <= size && likely >= least && likely <= size, "seed \(seed)")
      case .found(let layout):
        for tensor in layout.tensors {
          #expect(
            tensor.range.lowerBound >= layout.headerEnd && tensor.range.upperBound <= size,
            "seed \(seed)"
          )
        }
      }
    }
  }
}

struct FileFormatsTests {
  @Test func aJumpIntoATensorIsBoundedByIt() throws {
    let bytes = ModelFile.safetensors([("a", 5 << 20), ("b", 3 << 20)])
    let size = Int64(bytes.count)
    var formats = FileFormats(blobSize: size)
    formats.add(0..<size, name: "model.safetensors")
    // A short first request, which determines the length of the header.
    #expect(formats.region(at: 0).first == 128 << 10)
    let taken = formats.takeUnread(after: 0..<65_536) { _, _ in 65_536 }
    let (index, range) = try #require(taken)
    #expect(range == 0..<65_536)
    formats.note(TensorLayout.read(Array(bytes[..<65_536]), size: size), of: index, count: 65_536)
    let layout = try #require(formats.layout(of: 0..<size))
    let region = try #require(formats.region(at: layout.headerEnd + (5 << 20)).0)
    #expect(region.range.count == 3 << 20)
    #expect(!region.isWhole)
    #expect(formats.region(at: 3).0?.isWhole == true)
    let again = formats.takeUnread(after: nil) { _, _ in size }
    #expect(again == nil)
  }

  // A slow machine parses a header later than the kernel reads on.
  @Test func aReadBehindAnUnparsedHeaderIsJudgedOnceTheHeaderIsParsed() throws {
    for (header, isContent) in [(200_000, false), (1_000, true)] {
      var demand = FetchDemand(size: 100 << 20)
      demand.formats.add(0..<100 << 20, name: "model.safetensors")
      _ = demand.window(ahead: 0..<131_072)
      _ = demand.window(ahead: 1_200_000..<1_300_000)
      #expect(!demand.isContentRead)
      let taken = try #require(demand.formats.takeUnread(after: 0..<65_536) { _, _ in 65_536 })
      let finding = TensorLayout.Finding.more(least: Int64(header), likely: Int64(header))
      #expect(demand.note(finding, of: taken.index, count: 65_536) == isContent)
      #expect(demand.isContentRead == isContent)
    }
  }

  @Test func aReadThatNoHeaderPrecedesIsOfContent() {
    var demand = FetchDemand(size: 100 << 20)
    demand.formats.add(0..<100 << 20, name: "model.safetensors")
    _ = demand.window(ahead: 2_000_000..<2_100_000)
    #expect(demand.isContentRead)
  }

  @Test func membersOfATarAreBoundedByThemselves() throws {
    var formats = FileFormats(blobSize: 100 << 20)
    formats.add(512..<(10 << 20), name: "a.bin")
    formats.add((11 << 20)..<(20 << 20), name: "b.bin")
    #expect(formats.region(at: 5 << 20).0?.range == 512..<(10 << 20))
    #expect(formats.region(at: (10 << 20) + 5).0 == nil)
  }
}
