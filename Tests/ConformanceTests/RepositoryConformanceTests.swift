import Layouts
import Content
import Foundation
import HTTP
import LocalRegistry
import Logging
import OCI
import Registry
import Synchronization
import SystemPackage
import Telemetry
import TestSupport
import Testing

/// Collects bytes in memory and can end the fetch early.
private final class RangeSink: BlobSink {
  private let state = Mutex<(bytes: [Int64: UInt8], left: Int)>(([:], .max))

  init(stopAfter: Int = .max) { state.withLock { $0.left = stopAfter } }

  func receive(_ bytes: UnsafeRawBufferPointer, at offset: Int64) -> Bool {
    state.withLock { state in
      for (index, byte) in bytes.enumerated() { state.bytes[offset + Int64(index)] = byte }
      state.left -= bytes.count
      return state.left > 0
    }
  }

  func bytes(_ range: Range<Int64>) -> [UInt8?] { state.withLock { state in range.map { state.bytes[$0] } } }
}

/// Tests the behavior that all repositories share, with a real registry, an oci-dir, an oci-archive, and the
/// latter two as written by skopeo.
@Suite(.serialized) struct RepositoryConformanceTests {
  enum Kind: String, CaseIterable, Sendable {
    case registry, directory, archive, skopeoDirectory, skopeoArchive
  }

  private let folder: TemporaryFolder
  private let content = SeededGenerator.bytes(300_000, seed: 41)
  private let executor = BlockingExecutor(label: "test", threads: 4)

  init() throws { folder = try TemporaryFolder() }

  private struct Made {
    let repository: any Repository
    let entry: Descriptor
    let keeper: DockerRegistry?
  }

  private func make(_ kind: Kind) async throws -> Made {
    let entry = try LayoutMaker.write(
      folder,
      "layout",
      layers: [LayoutMaker.file("x", content)],
      reference: "v1"
    )
    let layout = folder.path("layout")
    func run(_ script: String) async throws {
      let result = try await Command.shell(script)
      try #require(result.status == 0, "\(result.error)")
    }
    switch kind {
    case .directory:
      return Made(
        repository: OCIDirectory(path: FilePath(layout), executor: executor),
        entry: entry,
        keeper: nil
      )
    case .archive:
      try await run("cd '\(layout)' && tar -cf ../a.tar blobs oci-layout index.json")
      return Made(
        repository: try OCIArchive(path: FilePath(folder.path("a.tar")), executor: executor),
        entry: entry,
        keeper: nil
      )
    case .skopeoDirectory:
      try await run("skopeo copy -q --preserve-digests oci:\(layout):v1 oci:\(folder.path("copy")):v1")
      return Made(
        repository: OCIDirectory(path: FilePath(folder.path("copy")), executor: executor),
        entry: entry,
        keeper: nil
      )
    case .skopeoArchive:
      try await run(
        "skopeo copy -q --preserve-digests oci:\(layout):v1 oci-archive:\(folder.path("copy.tar")):v1"
      )
      return Made(
        repository: try OCIArchive(path: FilePath(folder.path("copy.tar")), executor: executor),
        entry: entry,
        keeper: nil
      )
    case .registry:
      // With a password, so that every call gets a 401 first.
      try await run("htpasswd -Bbn user secret >'\(folder.path("htpasswd"))'")
      let docker = try await DockerRegistry(
        authentication: "auth: {htpasswd: {realm: test, path: \(folder.path("htpasswd"))}}"
      )
      try await run(
        "skopeo copy -q --preserve-digests --dest-tls-verify=false --dest-creds user:secret oci:\(layout):v1 docker://\(docker.host)/acme/m:v1"
      )
      let file = try folder.write(
        Array(#"{"auths":{"\#(docker.host)":{"auth":"dXNlcjpzZWNyZXQ="}}}"#.utf8),
        to: "auth.json"
      )
      let client = RegistryClient(
        thread: TransferThread(metrics: Metrics(), environment: [:]),
        credentials: CredentialFiles(
          environment: ["REGISTRY_AUTH_FILE": file],
          log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ),
        configuration: RegistryConfiguration(),
        log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
      )
      let name = try #require(RepositoryName(registry: docker.host, path: "acme/m"))
      return Made(repository: client.repository(name), entry: entry, keeper: docker)
    }
  }

  private func code(_ body: () async throws(ContentError) -> Void) async -> ContentError.Code? {
    do throws(ContentError) {
      try await body()
      return nil
    } catch {
      return error.code
    }
  }

  @Test(arguments: Kind.allCases)
  func resolvesFetchesAndLists(_ kind: Kind) async throws {
    let made = try await make(kind)
    let repository = made.repository
    let resolved = try await repository.resolve(.tag("v1"))
    #expect(resolved.digest == made.entry.digest)
    #expect(resolved.size == made.entry.size)
    #expect(try await repository.resolve(.digest(made.entry.digest)).digest == made.entry.digest)
    #expect(
      await code { () throws(ContentError) in _ = try await repository.resolve(.tag("none")) } == .notFound
    )
    #expect(
      await code { () throws(ContentError) in
        _ = try await repository.resolve(.digest(Verification.digest(of: [9])))
      } == .notFound
    )
    #expect(try await repository.tags(limit: 10) == ["v1"])
    #expect(!repository.origin.isEmpty)
    let (document, manifest) = try await repository.manifest(resolved)
    #expect(document.descriptor.digest == made.entry.digest)
    let layer = try #require(manifest.layers.first)
    for range in [0..<1, 0..<300_000, 65_535..<65_537, 299_999..<300_000, 100_000..<200_000] as [Range<Int64>]
    {
      let sink = RangeSink()
      try await repository.fetch(layer, range: range, into: sink)
      #expect(
        sink.bytes(range) == Array(content[Int(range.lowerBound)..<Int(range.upperBound)]).map { $0 },
        "\(range)"
      )
    }
    #expect(try await repository.verifiedBytes(of: layer, limit: 1 << 20) == content)
    // A sink that ends the fetch causes no error.
    try await repository.fetch(layer, range: 0..<300_000, into: RangeSink(stopAfter: 1))
    var absent = layer
    absent.digest = Verification.digest(of: [5])
    #expect(
      await code { () throws(ContentError) in
        try await repository.fetch(absent, range: 0..<10, into: RangeSink())
      } == .notFound
    )
    withExtendedLifetime(made.keeper) {}
  }
}
