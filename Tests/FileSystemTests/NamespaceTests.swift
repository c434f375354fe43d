import Artifacts
import ArtifactTree
import Content
import Fetching
import FileSystem
import Glibc
import LocalRegistry
import Logging
import OCI
import Synchronization
import SystemPackage
import Telemetry
import TestSupport
import Testing

struct NamespaceTests {
  private let fixture: FileSystemFixture
  private var folder: TemporaryFolder { fixture.folder }
  private var remote: MemoryRegistries { fixture.remote }
  private var metrics: Metrics { fixture.metrics }

  init() throws { fixture = try FileSystemFixture() }

  private func make(
    _ configure: (inout FileSystemOptions) -> Void = { _ in },
    stores: [String] = []
  ) throws -> FileSystem {
    try fixture.make(configure, stores: stores)
  }

  private func walk(_ fileSystem: FileSystem, _ path: String) async -> Result<Entry, FileSystemError> {
    await fixture.walk(fileSystem, path)
  }

  private func errno(_ fileSystem: FileSystem, _ path: String) async -> Errno? {
    await fixture.errno(fileSystem, path)
  }

  private func list(_ fileSystem: FileSystem, _ path: String) async throws -> [String] {
    try await fixture.list(fileSystem, path)
  }

  @Test func everySpellingLeadsToTheSameFile() async throws {
    try remote.add("localhost:5000/acme/gemma3:q4", files: ["model.gguf": [1, 2, 3]])
    let fileSystem = try make()
    let digest = try #require(remote.state.withLock { $0.tags.values.first?["q4"]?.digest })
    var nodes: Set<UInt64> = []
    var folders: Set<UInt64> = []
    for spelling in [
      "localhost:5000/acme/gemma3/q4", "localhost:5000/acme/gemma3:q4",
      "localhost:5000/acme/gemma3/\(digest)",
      "localhost:5000/acme/gemma3@\(digest)", "localhost__5000/acme/gemma3__q4",
      "localhost__5000/acme/gemma3/__sha256__\(digest.hex)",
      "localhost__5000/acme/gemma3__sha256__\(digest.hex)",
    ] {
      let entry = try await walk(fileSystem, "\(spelling)/model.gguf").get()
      nodes.insert(entry.node)
      folders.insert(try await walk(fileSystem, spelling).get().node)
    }
    #expect(nodes.count == 1, "all names share one file node")
    #expect(folders.count == 7, "no two names share a directory node")
  }

  @Test func impossibleNamesCostNoRequest() async throws {
    let fileSystem = try make()
    for path in [
      ".git", ".Trash-0", "HEAD", "ghcr.io/.git", "ghcr.io/Upper", "ghcr.io/a b", "ghcr.io/x:", "ghcr.io/@",
      "localhost:1/a:b:c",
    ] {
      #expect(await errno(fileSystem, path) == .noSuchFileOrDirectory, "\(path)")
    }
    #expect(remote.requests.isEmpty)
  }

  @Test func anUnknownModelIsNotFoundWithBoundedRequests() async throws {
    // Longer than this test takes on a busy machine.
    let fileSystem = try make { $0.resolution.negativeTimeToLive = .seconds(600) }
    #expect(await errno(fileSystem, "ghcr.io/typo/q4/model.gguf") == .noSuchFileOrDirectory)
    #expect(remote.requests.count <= 5)
    let before = remote.requests.count
    #expect(await errno(fileSystem, "ghcr.io/typo/q4/model.gguf") == .noSuchFileOrDirectory)
    #expect(remote.requests.count == before, "negative answers are cached")
  }

  @Test func aRegistryThatRefusesWhatDoesNotExistHidesNothingBelowIt() async throws {
    try remote.add("ghcr.io/acme/gemma3:q4", files: ["model.gguf": [1]])
    remote.state.withLock { $0.unknown = .unauthorized }
    let fileSystem = try make()
    #expect(await errno(fileSystem, "ghcr.io/acme/gemma3/q4/model.gguf") == nil)
    #expect(await errno(fileSystem, "ghcr.io/acme/gemma3/q5") == .noSuchFileOrDirectory)
    // For a name that can only be a reference, the refusal is returned.
    #expect(await errno(fileSystem, "ghcr.io/acme/gemma3:q5") == .permissionDenied)
  }

  @Test func aTagWinsOverARepositoryOfTheSameName() async throws {
    try remote.add("ghcr.io/acme/a:b", files: ["tag": [1]])
    try remote.add("ghcr.io/acme/a/b:c", files: ["repository": [1]])
    let fileSystem = try make()
    #expect(await errno(fileSystem, "ghcr.io/acme/a/b/tag") == nil)
    #expect(await errno(fileSystem, "ghcr.io/acme/a/b/c") == .noSuchFileOrDirectory)
    // The unambiguous spelling reaches the repository.
    #expect(await errno(fileSystem, "ghcr.io/acme/a/b:c/repository") == nil)
  }

  @Test func namespacesEndAtTheirDepthAndBelowRepositories() async throws {
    try remote.add("ghcr.io/acme/known:t", files: ["x": [1]])
    let fileSystem = try make()
    #expect(await errno(fileSystem, "ghcr.io/a/b/c") == nil)
    #expect(await errno(fileSystem, "ghcr.io/a/b/c/d") == .noSuchFileOrDirectory)
    #expect(await errno(fileSystem, "ghcr.io/acme/known/sub") == .noSuchFileOrDirectory)
    #expect(await errno(fileSystem, "ghcr.io/a/config.json") == .noSuchFileOrDirectory)
    let configured = try make { $0.namespaces = ["ghcr.io/acme/known/sub"] }
    #expect(await errno(configured, "ghcr.io/acme/known/sub") == nil)
  }

  @Test func dockerHubsOfficialImagesHaveTheirShortName() async throws {
    try remote.add("docker.io/library/model:1", files: ["x": [1]])
    let fileSystem = try make()
    #expect(await errno(fileSystem, "docker.io/model:1/x") == nil)
    #expect(await errno(fileSystem, "docker.io/library/model/1/x") == nil)
  }

  @Test func listingATagResolvesNothing() async throws {
    for number in 0..<50 { try remote.add("ghcr.io/acme/m:v\(number)", files: ["x": [UInt8(number)]]) }
    // Longer than this test takes on a busy machine.
    let fileSystem = try make {
      $0.resolution.negativeTimeToLive = .seconds(600)
      $0.resolution.timeToLive = .seconds(600)
    }
    let names = try await list(fileSystem, "ghcr.io/acme/m")
    #expect(names.count == 50)
    remote.forget()
    for name in names { #expect(await errno(fileSystem, "ghcr.io/acme/m/\(name)") == nil) }
    #expect(remote.requests.isEmpty, "a listed tag is resolved when its directory is used")
    #expect(try await list(fileSystem, "ghcr.io/acme/m/v7") == ["x"])
    #expect(remote.requests.count == 2)
  }

  @Test func listingsShowWhatTheOptionSays() async throws {
    try remote.add("ghcr.io/acme/m:v1", files: ["x": [1]])
    try remote.add("ghcr.io/acme/m:sha256-\(String(repeating: "0", count: 64))", files: ["x": [2]])
    #expect(try await list(try make { $0.listing = .local }, "ghcr.io/acme/m").isEmpty)
    #expect(try await list(try make(), "ghcr.io/acme/m") == ["v1"])
    #expect(try await list(try make(), "ghcr.io").isEmpty)
    let catalog = try make { $0.listing = .catalog }
    #expect(try await list(catalog, "ghcr.io") == ["acme"])
    #expect(try await list(catalog, "ghcr.io/acme") == ["m"])
  }

  @Test func aMovedTagShowsItsNewTreeAndOldFoldersKeepTheirs() async throws {
    try remote.add("ghcr.io/acme/m:t", files: ["old": [1]])
    let fileSystem = try make { $0.resolution.timeToLive = .zero }
    let before = try await walk(fileSystem, "ghcr.io/acme/m/t").get()
    #expect(try await list(fileSystem, "ghcr.io/acme/m/t") == ["old"])
    try remote.add("ghcr.io/acme/m:t", files: ["new": [2]])
    let after = try await walk(fileSystem, "ghcr.io/acme/m/t").get()
    #expect(after.node != before.node)
    #expect(try await list(fileSystem, "ghcr.io/acme/m/t") == ["new"])
    let handle = try await fileSystem.openDirectory(before.node).value.get()
    #expect(fileSystem.entries(handle, from: 2).map { String(decoding: $0.name, as: UTF8.self) } == ["old"])
  }

  @Test func aTagThatDidNotMoveKeepsItsNode() async throws {
    try remote.add("ghcr.io/acme/m:t", files: ["x": [1]])
    let fileSystem = try make { $0.resolution.timeToLive = .zero }
    let before = try await walk(fileSystem, "ghcr.io/acme/m/t").get()
    _ = try await list(fileSystem, "ghcr.io/acme/m/t")
    #expect(try await walk(fileSystem, "ghcr.io/acme/m/t").get().node == before.node)
  }

  @Test func aRegistryThatDoesNotAnswerLeavesTheLastResolution() async throws {
    try remote.add("ghcr.io/acme/m:t", files: ["x": [1]])
    let fileSystem = try make { $0.resolution.timeToLive = .zero }
    _ = try await list(fileSystem, "ghcr.io/acme/m/t")
    remote.state.withLock { $0.failure = .unreachable }
    #expect(await errno(fileSystem, "ghcr.io/acme/m:t/x") == nil)
    #expect(metrics.staleResolutions.value > 0)
    #expect(await errno(fileSystem, "ghcr.io/acme/other:t") == .ioError)
  }

  @Test func offlineAnswersFromTheLocalRegistryAlone() async throws {
    try remote.add("ghcr.io/acme/m:t", files: ["x": [1]])
    let online = try make()
    _ = try await list(online, "ghcr.io/acme/m/t")
    await online.settle()
    remote.forget()
    let offline = try make { $0.resolution.isOffline = true }
    #expect(try await list(offline, "ghcr.io/acme/m/t") == ["x"])
    #expect(try await list(offline, "") == ["ghcr.io"])
    #expect(try await list(offline, "ghcr.io/acme") == ["m"])
    #expect(await errno(offline, "ghcr.io/acme/m:other") == .networkUnreachable)
    #expect(await errno(offline, "ghcr.io/acme/other") == .noSuchFileOrDirectory)
    #expect(remote.requests.isEmpty)
  }

  @Test func whatSomebodyPutThereIsFinal() async throws {
    try remote.add("ghcr.io/acme/m:t", files: ["remote": [1]])
    try LayoutMaker.write(folder, "root/ghcr.io/acme/m/__t", layers: [LayoutMaker.file("local", [2])])
    let fileSystem = try make { $0.resolution.timeToLive = .zero }
    #expect(try await list(fileSystem, "ghcr.io/acme/m/t") == ["local"])
    #expect(!remote.requests.contains { $0.hasPrefix("HEAD ghcr.io/acme/m t") })
  }

  @Test func additionalStoresAreSeenInTheTree() async throws {
    try LayoutMaker.write(folder, "store", layers: [LayoutMaker.file("x", [2])], reference: "quay.io/a/b:t")
    let fileSystem = try make({ $0.resolution.isOffline = true }, stores: ["store"])
    #expect(try await list(fileSystem, "quay.io/a/b/t") == ["x"])
  }

  @Test func attributesFollowTheOptions() async throws {
    try remote.add("ghcr.io/acme/m:t", files: ["x": [1, 2, 3]])
    let fileSystem = try make {
      $0.userIdentifier = 7
      $0.groupIdentifier = 8
      $0.umask = 0o007
    }
    let file = try await walk(fileSystem, "ghcr.io/acme/m/t/x").get().attributes
    #expect(file.mode == 0o440)
    #expect(
      (file.userIdentifier, file.groupIdentifier, file.size, file.blocks, file.linkCount) == (7, 8, 3, 1, 1)
    )
    #expect(try await walk(fileSystem, "ghcr.io/acme").get().attributes.mode == 0o550)
  }

  @Test func extendedAttributesTellTheStateAndOthersCostNothing() async throws {
    try remote.add("ghcr.io/acme/m:t", files: ["x": [1, 2, 3]])
    let fileSystem = try make()
    let tag = try await walk(fileSystem, "ghcr.io/acme/m/t").get().node
    remote.forget()
    #expect(fileSystem.attributeNames(of: tag).count == 4)
    for name in ["security.selinux", "system.posix_acl_access", "user.weightfs.nothing"] {
      guard case .failure(let error) = await fileSystem.attribute(name, of: tag).value else {
        Issue.record("\(name)")
        continue
      }
      #expect(error.errno == .noData)
    }
    #expect(remote.requests.isEmpty)
    let reference = try await fileSystem.attribute("user.weightfs.reference", of: tag).value.get()
    #expect(String(decoding: reference, as: UTF8.self) == "ghcr.io/acme/m:t")
    let file = try await walk(fileSystem, "ghcr.io/acme/m/t/x").get().node
    let state = try await fileSystem.attribute("user.weightfs.state", of: file).value.get()
    #expect(String(decoding: state, as: UTF8.self) == "remote")
    let title = "user.weightfs.annotation.org.opencontainers.image.title"
    #expect(fileSystem.attributeNames(of: file).contains(title))
    #expect(try await fileSystem.attribute(title, of: file).value.get() == Array("x".utf8))
    guard case .failure = await fileSystem.attribute("user.weightfs.annotation.none", of: file).value else {
      Issue.record("an annotation that does not exist has a value")
      return
    }
  }

  @Test func timesOfFilesAreThoseOfTheFirstRecord() async throws {
    let start = Int64(time(nil))
    try remote.add("ghcr.io/acme/m:t", files: ["x": [1], "y": [2]])
    let fileSystem = try make()
    let first = try await walk(fileSystem, "ghcr.io/acme/m/t/x").get()
    let directory = try await walk(fileSystem, "ghcr.io/acme/m/t").get().attributes.modificationTime
    #expect((start...Int64(time(nil))).contains(first.attributes.modificationTime))
    #expect(directory == first.attributes.modificationTime)
    #expect(await eventually { Int64(time(nil)) > first.attributes.modificationTime })
    // Another artifact with the same blob has the same node; what is new in it has a newer time.
    try remote.add("ghcr.io/acme/m:u", files: ["x": [1], "y": [3]])
    let again = try await walk(fileSystem, "ghcr.io/acme/m/u/x").get()
    #expect(again.node == first.node)
    let other = try await walk(fileSystem, "ghcr.io/acme/m/u/y").get().attributes.modificationTime
    #expect(other > first.attributes.modificationTime)
    // They are those of the root, not of the process.
    let restarted = try make()
    let kept = try await walk(restarted, "ghcr.io/acme/m/t/x").get().attributes.modificationTime
    #expect(kept == first.attributes.modificationTime)
  }

  @Test func aNameThatIsPushedAfterItWasLookedAtIsSeen() async throws {
    let fileSystem = try make { $0.resolution.negativeTimeToLive = .zero }
    #expect(try await list(fileSystem, "ghcr.io/acme/new").isEmpty)
    #expect(await errno(fileSystem, "ghcr.io/acme/new/t/x") == .noSuchFileOrDirectory)
    try remote.add("ghcr.io/acme/new:t", files: ["x": [1]])
    #expect(await errno(fileSystem, "ghcr.io/acme/new/t/x") == nil)
  }

  @Test func aTagThatMovedBetweenListingsIsSeen() async throws {
    try remote.add("ghcr.io/acme/m:t", files: ["old": [1]])
    let fileSystem = try make { $0.resolution.timeToLive = .milliseconds(50) }
    _ = try await list(fileSystem, "ghcr.io/acme/m")
    #expect(try await list(fileSystem, "ghcr.io/acme/m/t") == ["old"])
    try remote.add("ghcr.io/acme/m:t", files: ["new": [2]])
    #expect(
      try await eventually {
        _ = try await list(fileSystem, "ghcr.io/acme/m")
        return try await list(fileSystem, "ghcr.io/acme/m/t") == ["new"]
      }
    )
  }

  @Test func aTagThatTheRegistryDeletedIsNotListed() async throws {
    try remote.add("ghcr.io/acme/m:t", files: ["x": [1]])
    try remote.add("ghcr.io/acme/m:u", files: ["x": [2]])
    let fileSystem = try make { $0.resolution.timeToLive = .zero }
    _ = try await list(fileSystem, "ghcr.io/acme/m/t")
    remote.state.withLock { state in
      for name in state.tags.keys { state.tags[name]?["t"] = nil }
    }
    #expect(try await list(fileSystem, "ghcr.io/acme/m") == ["u"])
  }

  @Test func aSizeBeyondBeliefHarmsNoLookUp() async throws {
    let digest = Verification.digest(of: [1])
    let bytes = Array(
      #"{"layers":[{"mediaType":"a/b","digest":"\#(digest)","size":9223372036854775807}]}"#.utf8
    )
    let descriptor = Descriptor(
      mediaType: .imageManifest,
      digest: Verification.digest(of: bytes),
      size: Int64(bytes.count)
    )
    let repository = try Reference(parsing: "ghcr.io/acme/huge:t").repository
    remote.state.withLock { state in
      state.documents[descriptor.digest] = (bytes, .imageManifest)
      state.tags[repository] = ["t": descriptor]
    }
    #expect(await errno(try make(), "ghcr.io/acme/huge:t/x") == .ioError)
  }

  @Test func forgottenNodesGo() async throws {
    try remote.add("ghcr.io/acme/m:t", files: ["x": [1]])
    let fileSystem = try make()
    var nodes: [UInt64] = []
    var node = FileSystem.rootIdentifier
    for name in ["ghcr.io", "acme", "m", "t", "x"] {
      node = try await fileSystem.lookUp(Array(name.utf8), in: node).value.get().node
      nodes.append(node)
    }
    #expect(fileSystem.nodeCount == 6)
    for node in nodes.reversed() { fileSystem.forget(node, 1) }
    #expect(fileSystem.nodeCount == 1)
  }

  @Test func manyWhoAskAtOnceCostOneRequest() async throws {
    try remote.add("ghcr.io/acme/m:t", files: ["x": [1]])
    let fileSystem = try make()
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<32 { group.addTask { _ = await self.walk(fileSystem, "ghcr.io/acme/m/t/x") } }
    }
    #expect(remote.requests.count { $0.hasPrefix("HEAD ghcr.io/acme/m t") } == 1)
    #expect(remote.requests.count { $0.hasPrefix("GET") } == 1)
  }
}
