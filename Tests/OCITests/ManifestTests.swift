import Foundation
import OCI
import Testing

struct ManifestTests {
  private static let digest = "sha256:" + String(repeating: "ab", count: 32)
  private static let other = "sha256:" + String(repeating: "cd", count: 32)

  private func read(_ text: String, declared: MediaType? = nil) throws -> ManifestDocument {
    let digest = try #require(Digest(Self.digest))
    return try ManifestDocument(bytes: Array(text.utf8), digest: digest, declared: declared)
  }

  private func manifest(_ text: String) throws -> Manifest {
    guard case .manifest(let manifest) = try read(text).content else {
      throw DocumentError(reason: "an index")
    }
    return manifest
  }

  private func layer(_ digest: String, _ more: String = "") -> String {
    #"{"mediaType":"a/b","digest":"\#(digest)","size":3\#(more)}"#
  }

  @Test func sizesThatCannotBeAreRefused() throws {
    let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    func layers(_ pairs: (String, Int)...) -> String {
      let texts = pairs.map { #"{"mediaType":"a/b","digest":"\#($0.0)","size":\#($0.1)}"# }
      return #"{"layers":[\#(texts.joined(separator: ","))]}"#
    }
    #expect(throws: DocumentError.self) { try manifest(layers((Self.digest, 3), (Self.digest, 4))) }
    #expect(throws: DocumentError.self) { try manifest(layers((Self.digest, 0))) }
    #expect(throws: DocumentError.self) { try manifest(layers((empty, 1))) }
    #expect(try manifest(layers((Self.digest, 3), (Self.digest, 3), (empty, 0))).layers.count == 3)
  }

  /// image-spec descriptor_test.go: digests of other algorithms are valid.
  @Test(arguments: [
    "sha256+b64:c86f7763873b6c0aae22d963bab59b4f5debbed6685761b5951584f6efb0633b",
    "sha256.foo-bar:c86f7763873b6c0aae22d963bab59b4f5debbed6685761b5951584f6efb0633b",
    "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
    "sha256+b64u.unknownlength:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564=",
    "sha384:\(String(repeating: "a", count: 96))",
  ])
  func aLayerOfAnotherAlgorithmDoesNotHideTheOthers(_ digest: String) throws {
    let good = layer(Self.digest)
    let odd = layer(digest, #","annotations":{"org.opencontainers.image.title":"b.gguf"}"#)
    let found = try manifest(#"{"config":\#(layer(digest)),"layers":[\#(good),\#(odd)]}"#)
    #expect(found.layers.map(\.digest.description) == [Self.digest])
    #expect(found.foreignLayers.map(\.digest) == [digest])
    #expect(found.foreignConfig?.digest == digest)
    #expect(found.effectiveArtifactType?.rawValue == "a/b", "the kind of the artifact is still known")
  }

  @Test(arguments: [
    "sha256:abc", "sha512:\(String(repeating: "a", count: 64))", "sha256", ":abc", "SHA256:abc", "sha384:",
    "sha+:abc", "sha384:a/b", "", "sha384:\(String(repeating: "a", count: 2000))",
  ])
  func aTextThatIsNoDigestMakesTheManifestUnreadable(_ digest: String) {
    #expect(throws: DocumentError.self) { try manifest(#"{"layers":[\#(layer(digest))]}"#) }
  }

  @Test func whatATerminalObeysOrHidesIsNotPrinted() {
    let hostile = "a\u{1b}[31m\u{7f}\u{9b}\u{202e}\u{2066}\u{2028}\u{200b}\u{feff}\u{e0041}z"
    let seen = ForeignText.visible(hostile)
    #expect(seen.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.properties.generalCategory != .format })
    #expect(seen.hasPrefix("a") && seen.hasSuffix("z"))
    let json = ForeignText.escaped(json: Array("{\"k\":\"\u{7f}\u{202e}\u{e0041}é🦙\"}".utf8))
    #expect(json == "{\"k\":\"\\u007f\\u202e\\udb40\\udc41é🦙\"}")
  }

  @Test func readsAllMembersOfADescriptor() throws {
    let text = layer(
      Self.digest,
      #","data":"YWJj","urls":["https://x/y"],"artifactType":"t/u","annotations":{"k":"v"},"name":"n/m""#
    )
    let found = try #require(try manifest(#"{"layers":[\#(text)]}"#).layers.first)
    #expect(found.data == Array("abc".utf8))
    #expect(found.urls == ["https://x/y"])
    #expect(found.artifactType?.rawValue == "t/u")
    #expect(found.annotations == ["k": "v"])
    #expect(found.name == "n/m")
    #expect(found.size == 3)
  }

  @Test func neitherBlobsNorLayersHideTheOther() throws {
    let both = try manifest(
      #"{"layers":[\#(layer(Self.digest))],"blobs":[\#(layer(Self.digest)),\#(layer(Self.other))]}"#
    )
    #expect(both.layers.map { "\($0.digest)" } == [Self.digest, Self.other])
    let blobsAlone = try manifest(#"{"blobs":[\#(layer(Self.other))]}"#)
    #expect(blobsAlone.layers.count == 1)
  }

  @Test func keepsTheBytesAsTheyCame() throws {
    let text = "{ \"layers\" :\n [ ] , \"unknown\": 1.50 }"
    #expect(try read(text).bytes == Array(text.utf8))
  }

  @Test func takesTheTypeOfTheBodyThenTheDeclaredOne() throws {
    let named = #"{"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}"#
    #expect(try read(named, declared: .dockerManifest).descriptor.mediaType == .imageManifest)
    let unnamed = #"{"layers":[]}"#
    let declared = MediaType(rawValue: "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8")
    #expect(try read(unnamed, declared: declared).descriptor.mediaType == .dockerManifest)
    #expect(try read(unnamed).descriptor.mediaType == .imageManifest)
    #expect(try read(#"{"manifests":[]}"#).descriptor.mediaType == .imageIndex)
  }

  @Test(arguments: [
    #"{"manifests":[],"layers":[]}"#, #"{"schemaVersion":1,"layers":[]}"#, "[]", "1", "", "{", "{}", "null",
    #"{"layers":[{"mediaType":"a/b","digest":"sha256:zz","size":1}]}"#,
    #"{"layers":[{"mediaType":"a/b","size":1}]}"#, #"{"layers":"x"}"#,
    #"{"layers":[{"mediaType":"a/b","digest":"sha256:"#
      + String(repeating: "ab", count: 32) + #"","size":-1}]}"#,
    #"{"layers":[{"mediaType":"a/b","digest":"sha256:"#
      + String(repeating: "ab", count: 32) + #"","size":1e40}]}"#,
  ])
  func refusesWhatCannotBeRead(_ text: String) {
    #expect(throws: DocumentError.self) { try read(text) }
  }

  @Test func refusesDeepJSONWithoutRunningOutOfStack() {
    let deep = String(repeating: "[", count: 100_000)
    #expect(throws: DocumentError.self) { try read(#"{"layers":\#(deep)"#) }
    let objects = String(repeating: #"{"a":"#, count: 100_000)
    #expect(throws: DocumentError.self) { try read(objects) }
  }

  @Test func bracesInStringsAreNoDepth() throws {
    let text = #"{"layers":[],"annotations":{"k":"\#(String(repeating: "{[", count: 500))\\\""}}"#
    #expect(try manifest(text).layers.isEmpty)
  }

  @Test func refusesMoreThanFourMebibytes() {
    let text = #"{"layers":[],"x":"\#(String(repeating: "a", count: 4 << 20))"}"#
    #expect(throws: DocumentError.self) { try read(text) }
  }

  @Test func tellsImagesFromArtifacts() throws {
    let config =
      #"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"\#(Self.digest)","size":2}"#
    #expect(try manifest(#"{"config":\#(config),"layers":[]}"#).isImage)
    #expect(try !manifest(#"{"artifactType":"a/b","config":\#(config),"layers":[]}"#).isImage)
    #expect(try !manifest(#"{"config":{"mediaType":"x/y","digest":"\#(Self.digest)","size":2}}"#).isImage)
  }
}

struct IndexTests {
  private func entry(
    _ last: String,
    _ platform: Platform?,
    _ annotations: [String: String] = [:]
  ) throws -> Descriptor {
    let digest = try #require(Digest("sha256:" + String(repeating: "0", count: 63) + last))
    var entry = Descriptor(mediaType: .imageManifest, digest: digest, size: 1, annotations: annotations)
    entry.platform = platform
    return entry
  }

  private let arm = Platform(architecture: "arm64", os: "linux", variant: "v8")
  private let amd = Platform(architecture: "amd64", os: "linux")

  @Test(arguments: [
    #"{"mediaType":"a/b","digest":"sha384:00","size":1}"#,
    #"{"mediaType":"a/b","digest":"blake3:00","size":1}"#,
    #"{"mediaType":"a/b","size":1}"#, #"{"mediaType":"a/b","digest":"DIGEST","size":"1"}"#,
    #"{"mediaType":"a/b","digest":"DIGEST","size":1,"annotations":{"a":1}}"#, "7", "null",
  ])
  func oneOddEntryIsPassedOverAndToldOf(_ odd: String) throws {
    let digest = "sha256:" + String(repeating: "1", count: 64)
    let entry = odd.replacingOccurrences(of: "DIGEST", with: digest)
    let right = #"{"mediaType":"\#(MediaType.imageManifest.rawValue)","digest":"\#(digest)","size":5}"#
    let text = #"{"schemaVersion":2,"annotations":{"a":1},"manifests":[\#(entry),\#(right)]}"#
    let index = try JSONDocument.decode(Index.self, from: Array(text.utf8))
    #expect(index.manifests.map(\.size) == [5])
    #expect(index.problems.count == 1 && index.problems[0].hasPrefix("entry 1 "), "\(index.problems)")
    // The entry belongs to another program, and is kept when the index is written.
    let written = String(decoding: try JSONDocument.encode(index), as: UTF8.self)
    #expect(try JSONDocument.decode(Index.self, from: Array(written.utf8)).problems.count == 1, "\(written)")
  }

  @Test func anEntryOfAnUnknownTypeIsNeverTaken() throws {
    var odd = try entry("1", amd)
    odd.mediaType = MediaType(rawValue: "application/vnd.example.signature")
    let index = Index(manifests: [odd, try entry("2", nil)])
    #expect(index.choice(for: amd)?.manifest == index.manifests[1])
    #expect(Index(manifests: [odd]).choice(for: amd)?.manifest == nil)
  }

  @Test func takesTheManifestOfThePlatform() throws {
    let index = Index(manifests: [try entry("1", arm), try entry("2", amd)])
    #expect(index.choice(for: amd)?.manifest == index.manifests[1])
    #expect(index.choice(for: arm)?.manifest == index.manifests[0])
  }

  @Test func prefersNoPlatformToAnotherOne() throws {
    let index = Index(manifests: [try entry("1", arm), try entry("2", nil)])
    #expect(index.choice(for: amd)?.manifest == index.manifests[1])
  }

  @Test func neverTakesAnAttestation() throws {
    let unknown = Platform(architecture: "unknown", os: "unknown")
    let mark = ["vnd.docker.reference.type": "attestation-manifest"]
    let marked = [try entry("1", unknown, mark), try entry("2", nil, mark)]
    #expect(Index(manifests: marked).choice(for: amd) == nil)
    // Without the mark it is an image of a builder that knows no platforms, unless there is another.
    let plain = try entry("3", unknown)
    #expect(Index(manifests: marked + [plain]).choice(for: amd)?.manifest == plain)
    let other = try entry("4", arm)
    #expect(Index(manifests: [plain, other]).choice(for: amd)?.manifest == other)
  }

  @Test func aChoiceThatMaySurpriseIsTold() throws {
    let right = try entry("1", amd)
    let other = try entry("2", arm)
    #expect(Index(manifests: [right, other]).choice(for: amd)?.note == nil)
    let foreign = try #require(Index(manifests: [other]).choice(for: amd)?.note)
    #expect(foreign.contains("linux/amd64") && foreign.contains("linux/arm64"), "\(foreign)")
    // olot writes a modelcar and a ModelPack into one index.
    var pack = try entry("3", nil)
    pack.artifactType = MediaType(rawValue: "application/vnd.cncf.model.manifest.v1+json")
    let car = try entry("4", nil)
    let both = try #require(Index(manifests: [car, pack]).choice(for: amd)?.note)
    #expect(
      both.contains("container image") && both.contains("vnd.cncf.model") && both.contains("\(pack.digest)")
    )
  }

  @Test func platformsAreParsedAsTheyArePrinted() {
    for text in ["linux/amd64", "linux/arm64/v8"] { #expect(Platform(parsing: text)?.description == text) }
    for text in ["", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "linux/AMD64", "a b/c"] {
      #expect(Platform(parsing: text) == nil, "\(text)")
    }
  }
}
