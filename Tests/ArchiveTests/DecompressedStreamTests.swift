import Archive
import TestSupport
import Testing

/// Decompression against gzip(1), zstd(1) and their options.
struct DecompressedStreamTests {
  /// Text that compresses about 3:1, as real files do.
  private static let text: [UInt8] = {
    var generator = SeededGenerator(seed: 5)
    return (0..<3_000_000).map { _ in UInt8(ascii: "a") + UInt8(generator.next() % 7) }
  }()

  private func all(_ stream: DecompressedStream, piece: Int = 70_000) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: piece)
    while true {
      let count = try buffer.withUnsafeMutableBytes { try stream.read(into: $0) }
      bytes += buffer[..<count]
      if count < piece { return bytes }
    }
  }

  private static let programs: [(Compression, String)] = [
    (.gzip, "gzip -1"), (.gzip, "gzip -9 -n"),
    // Two members, the second of a file with a name in its header.
    (.gzip, "sh -c 'cat >a; head -c 1000000 a | gzip; tail -c +1000001 a >b; gzip -c b; rm a b'"),
    // gzip(1) ignores what follows the last member.
    (.gzip, "sh -c 'gzip; head -c 512 /dev/zero'"), (.zstd, "zstd -3"), (.zstd, "zstd --no-check -19"),
    // Frames, and a frame to be skipped between them.
    (
      .zstd,
      "sh -c 'cat >a; head -c 1000000 a | zstd; printf \"\\120\\052\\115\\030\\003\\000\\000\\000abc\"; tail -c +1000001 a | zstd; rm a'"
    ),
  ]

  @Test(arguments: programs) func whatProgramsCompressIsReadBack(
    _ compression: Compression,
    _ program: String
  )
    async throws
  {
    let packed = try await Compressed.bytes(Self.text, by: "cd $(mktemp -d) && \(program)")
    #expect(packed.count < Self.text.count)
    for piece in [4095, 4_000_000] {
      let stream = try DecompressedStream(MemorySource(packed), compression)
      #expect(try all(stream, piece: piece) == Self.text)
      #expect(stream.output == Int64(Self.text.count))
    }
  }

  @Test(arguments: programs) func eachCheckpointLeadsToTheRest(
    _ compression: Compression,
    _ program: String
  )
    async throws
  {
    let packed = try await Compressed.bytes(Self.text, by: "cd $(mktemp -d) && \(program)")
    let stream = try DecompressedStream(MemorySource(packed), compression, spacing: 300_000)
    _ = try all(stream)
    // A zstd of one frame has no such position.
    let checkpoints = stream.takeCheckpoints()
    #expect(checkpoints.count >= (compression == .gzip ? 6 : 0))
    for checkpoint in checkpoints {
      #expect(checkpoint.window.count <= 32 << 10)
      let rest = try DecompressedStream(MemorySource(packed), compression, from: checkpoint)
      #expect(rest.output == checkpoint.output)
      #expect(try all(rest).elementsEqual(Self.text[Int(checkpoint.output)...]))
    }
  }

  @Test(arguments: [(Compression.gzip, "gzip"), (.zstd, "zstd")])
  func aStreamThatEndsEarlyOrIsDamagedIsAnError(_ compression: Compression, _ program: String) async throws {
    let packed = try await Compressed.bytes(Self.text, by: program)
    for end in [0, 1, 5, packed.count / 2, packed.count - 1] {
      #expect(throws: ArchiveError.self, "\(end)") {
        try all(try DecompressedStream(MemorySource(Array(packed[..<end])), compression))
      }
    }
    var damaged = packed
    for index in stride(from: packed.count / 3, to: packed.count / 3 + 64, by: 3) { damaged[index] ^= 0x5a }
    #expect(throws: ArchiveError.self) {
      try all(try DecompressedStream(MemorySource(damaged), compression))
    }
  }

  @Test func streamsOfStoredBlocksAreReadBack() throws {
    for (compression, packed) in [
      (Compression.gzip, StoredStream.gzip(Self.text)), (.zstd, StoredStream.zstd(Self.text)),
    ] {
      #expect(try all(try DecompressedStream(MemorySource(packed), compression)) == Self.text)
    }
    let bomb = try DecompressedStream(MemorySource(StoredStream.bomb(blocks: 100)), .zstd)
    #expect(try all(bomb).count == 100 * (128 << 10))
  }

  @Test func aWindowThatNeedsTooMuchMemoryIsRefused() async throws {
    // `--long=27` writes a window of 128 MiB into the header if the size is not known.
    let packed = try await Compressed.bytes([UInt8](repeating: 1, count: 100_000), by: "zstd --long=27 -1")
    let error = #expect(throws: ArchiveError.self) {
      try all(try DecompressedStream(MemorySource(packed), .zstd))
    }
    #expect(error?.reason.contains("32 MiB") ?? false)
  }
}
