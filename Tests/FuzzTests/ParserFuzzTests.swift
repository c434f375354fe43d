import Archive
import ArtifactTree
import Fetching
import Foundation
import HTTP
import OCI
import Registry
import TestSupport
import Testing

/// Runs parsers on randomly damaged inputs: they must return or throw, never crash, and satisfy the
/// invariants of a result.
///
/// `WEIGHTFS_EXECUTIONS` is the total number of inputs of all parsers, `WEIGHTFS_SEED` the first seed. The
/// seed that was started last is in the file that `WEIGHTFS_FUZZ_STATE` names, so that it is known after a
/// crash.
struct ParserFuzzTests {
  /// A parser, initial inputs, and the invariants of a result.
  struct Target: Sendable, CustomTestStringConvertible {
    let name: String
    let inputs: [[UInt8]]
    let check: @Sendable ([UInt8]) -> Bool
    var testDescription: String { name }
  }

  private static func number(_ name: String) -> UInt64? {
    ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
  }

  private static let executions = Int(number("WEIGHTFS_EXECUTIONS") ?? 24_000)
  private static let firstSeed = number("WEIGHTFS_SEED") ?? 20_261_126
  // Number of inputs per seed, so that recording the seed costs little.
  private static let batch = 500
  // Even a slow debug build needs only milliseconds for an input of some kilobytes.
  private static let limit: Duration = .seconds(20)

  private static func text(_ words: String...) -> [[UInt8]] { words.map { Array($0.utf8) } }

  private static let digest = "sha256:" + String(repeating: "ab", count: 32)

  private static let manifest = """
    {"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":\
    "application/vnd.oci.empty.v1+json","digest":"\(digest)","size":2,"data":"e30="},"layers":[{"mediaType":\
    "application/octet-stream","digest":"\(digest)","size":4096,"annotations":{"org.opencontainers.image.title":\
    "a/b.gguf"}}],"annotations":{"a":"b"}}
    """
  private static let index = """
    {"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"\(digest)",\
    "size":7,"platform":{"architecture":"amd64","os":"linux","variant":"v8"}},{"digest":"sha384:00","size":"x"}]}
    """

  static let targets: [Target] = [
    Target(name: "manifest", inputs: text(manifest, index)) { bytes in
      guard let digest = Digest(Self.digest),
        let document = try? ManifestDocument(bytes: bytes, digest: digest, declared: nil)
      else { return true }
      // A parsed document can be encoded, and parses to the same value.
      switch document.content {
      case .manifest(let manifest):
        guard let again = try? JSONDocument.encode(manifest) else { return false }
        return (try? JSONDocument.decode(Manifest.self, from: again))?.layers == manifest.layers
      case .index(let index):
        guard let again = try? JSONDocument.encode(index) else { return false }
        return (try? JSONDocument.decode(Index.self, from: again))?.manifests == index.manifests
      }
    },
    Target(
      name: "reference",
      inputs: text(
        "ghcr.io/acme/m:v1",
        "localhost:5000/a/b@\(digest)",
        "a",
        "[::1]:5000/x:y",
        "hf.co/org/model:Q4_K_M"
      )
    ) { bytes in
      let text = String(decoding: bytes, as: UTF8.self)
      guard let reference = try? Reference(parsing: text) else { return true }
      let path = ReferencePath.path(of: reference)
      return (try? Reference(parsing: "\(reference)")) == reference && !path.contains("/../")
        && !path.hasPrefix("/")
    },
    Target(name: "digest", inputs: text(digest, "sha512:" + String(repeating: "01", count: 64))) { bytes in
      guard let digest = Digest(String(decoding: bytes, as: UTF8.self)) else { return true }
      return Digest("\(digest)") == digest
    },
    Target(name: "tar", inputs: tars) { bytes in
      guard let index = try? TarIndex(reading: BytesSource(bytes)) else { return true }
      return index.members.allSatisfy { member in
        guard case .file = member.kind, !member.isSparse else { return true }
        return member.size >= 0 && member.dataOffset >= 0
          && member.dataOffset.addingReportingOverflow(member.size).overflow == false
          && member.dataOffset + member.size <= Int64(bytes.count)
      }
    },
    Target(
      name: "tensors",
      inputs: [
        ModelFile.gguf(tensors: [("a.weight", 64), ("b.weight", 128)]),
        ModelFile.safetensors([("a", 64), ("b", 32)]),
      ]
    ) { bytes in
      let size = Int64(bytes.count)
      guard case .found(let layout) = TensorLayout.read(bytes, size: size) else { return true }
      return layout.headerEnd <= size
        && layout.tensors.allSatisfy {
          $0.range.lowerBound >= layout.headerEnd && $0.range.upperBound <= size
        }
    },
    Target(name: "path", inputs: text("a/b/../c", "/x//./y", "../../etc/passwd", "a")) { bytes in
      let text = String(decoding: bytes, as: UTF8.self)
      let names =
        ((try? TreePath.parse(annotation: text)) ?? []) + ((try? TreePath.parse(member: bytes)) ?? [])
      return names.allSatisfy { EntryName($0.bytes) == $0 }
    },
    Target(
      name: "challenge",
      inputs: text(
        #"Bearer realm="https://auth.example/token",service="r",scope="repository:a/b:pull""#,
        #"Basic realm="x", Bearer realm="y",error="insufficient_scope""#
      )
    ) { bytes in
      _ = Challenge.parse(String(decoding: bytes, as: UTF8.self))
      return true
    },
    Target(
      name: "address",
      inputs: text(
        "https://user@example.com:5000/v2/a/blobs/\(digest)?x=y#z",
        "http://[fe80::1%25eth0]/",
        "http://169.254.169.254/latest",
        "http://0x7f.1/"
      )
    ) { bytes in
      let text = String(decoding: bytes, as: UTF8.self)
      _ = AddressClass(text)
      guard let url = RequestURL(text) else { return true }
      return ["http", "https"].contains(url.scheme) && !url.host.isEmpty
    },
    Target(name: "foreign text", inputs: text("a\u{1b}[31mb", "\u{202e}gpj.exe", "plain", "\"\u{7f}\"")) {
      bytes in
      let shown = ForeignText.visible(String(decoding: bytes, as: UTF8.self))
      return shown.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value) }
        && !ForeignText.escaped(json: bytes).contains("\u{1b}")
    },
  ]

  private static let tars: [[UInt8]] = {
    var plain = TarMaker()
    plain.add("models/", type: "5", mode: 0o755)
    plain.add("models/a.gguf", content: Array("GGUF".utf8) + [UInt8](repeating: 7, count: 700))
    plain.add("models/link", type: "2", target: "a.gguf")
    plain.add("models/hard", type: "1", target: "models/a.gguf")
    plain.add(String(repeating: "long/", count: 40) + "name", content: [1, 2, 3])
    var pax = TarMaker()
    pax.addPAX([("path", "models/b.gguf"), ("size", "600"), ("mtime", "1.5")])
    pax.add("short", content: [UInt8](repeating: 9, count: 600))
    pax.addPAX([("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "4096")])
    pax.add("sparse", content: [UInt8](repeating: 0, count: 512))
    return [plain.finished, pax.finished]
  }()

  @Test(arguments: targets)
  func damagedInputIsAnsweredOrRefused(_ target: Target) throws {
    let count = Self.executions / Self.targets.count
    let state = ProcessInfo.processInfo.environment["WEIGHTFS_FUZZ_STATE"]
    var done = 0
    var batch: UInt64 = 0
    while done < count {
      let seed = Self.firstSeed &+ batch
      batch += 1
      if let state { try "\(target.name) \(seed)\n".write(toFile: state, atomically: false, encoding: .utf8) }
      var generator = SeededGenerator(seed: seed)
      for _ in 0..<min(Self.batch, count - done) {
        var input = target.inputs[Int.random(in: target.inputs.indices, using: &generator)]
        Damage.apply(to: &input, others: target.inputs, &generator)
        let begun = ContinuousClock.now
        #expect(target.check(input), "\(target.name), WEIGHTFS_SEED=\(seed): \(input.count) bytes")
        #expect(
          ContinuousClock.now - begun < Self.limit,
          "\(target.name), WEIGHTFS_SEED=\(seed) takes too long"
        )
        done += 1
      }
    }
    #expect(done == count && count > 0)
  }
}

/// Bytes as a source of a tar.
private final class BytesSource: ByteSource {
  private let bytes: [UInt8]
  var size: Int64 { Int64(bytes.count) }

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(ArchiveError) -> Int {
    guard offset >= 0, offset < size else { return 0 }
    let count = min(buffer.count, bytes.count - Int(offset))
    buffer.copyBytes(from: bytes[Int(offset)..<Int(offset) + count])
    return count
  }
}
