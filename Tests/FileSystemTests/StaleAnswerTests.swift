import Artifacts
import Content
import FileSystem
import OCI
import Synchronization
import SystemPackage
import Telemetry
import TestSupport
import Testing

/// Known names are answered with little or no delay; an unreadable manifest does not count as absent.
struct StaleAnswerTests {
  private let fixture: FileSystemFixture
  private var remote: MemoryRegistries { fixture.remote }
  private let path = "ghcr.io/acme/m:t"

  init() throws {
    fixture = try FileSystemFixture()
    try remote.add("ghcr.io/acme/m:t", files: ["old": [1]])
  }

  private func heads() -> Int { remote.requests.filter { $0.hasPrefix("HEAD") }.count }

  @Test(arguments: [Duration.zero, .milliseconds(200)])
  func aKnownTagWaitsForItsRegistryNoLongerThanAsked(_ staleWait: Duration) async throws {
    let fileSystem = try fixture.make {
      $0.resolution.timeToLive = .zero
      $0.resolution.staleWait = staleWait
    }
    #expect(try await fixture.list(fileSystem, path) == ["old"])
    try remote.add("ghcr.io/acme/m:t", files: ["new": [2]])
    remote.forget()
    remote.hold("HEAD ghcr.io/acme/m t")
    let start = ContinuousClock.now
    let entry = try await fixture.walk(fileSystem, path).get()
    #expect(ContinuousClock.now - start >= staleWait)
    // The kernel must not cache it, and while the request is in flight no other look-up waits for it.
    #expect(entry.entryTimeout == .zero)
    #expect(try await fixture.list(fileSystem, path) == ["old"])
    #expect(heads() == 1)
    #expect(fixture.metrics.staleResolutions.value >= 2)
    remote.release()
    #expect(
      await eventually { await (try? fixture.list(fileSystem, path)) == ["new"] },
      "the answer that arrived later is used"
    )
  }

  @Test func anAnswerInTimeIsUsed() async throws {
    let fileSystem = try fixture.make {
      $0.resolution.timeToLive = .zero
      $0.resolution.staleWait = .seconds(600)
    }
    #expect(try await fixture.list(fileSystem, path) == ["old"])
    try remote.add("ghcr.io/acme/m:t", files: ["new": [2]])
    #expect(try await fixture.list(fileSystem, path) == ["new"])
    #expect(fixture.metrics.staleResolutions.value == 0)
  }

  @Test func whatIsNotKnownWaitsForItsRegistry() async throws {
    let fileSystem = try fixture.make { $0.resolution.staleWait = .zero }
    remote.hold("HEAD ghcr.io/acme/m t")
    async let entry = fixture.walk(fileSystem, path)
    #expect(await eventually { heads() == 1 })
    remote.release()
    #expect(try await entry.get().node != 0)
  }

  @Test func everySpellingOfATagSharesOneRequest() async throws {
    let fileSystem = try fixture.make()
    remote.hold("HEAD ghcr.io/acme/m t")
    try await withThrowingTaskGroup(of: Entry.self) { group in
      for spelling in ["ghcr.io/acme/m:t", "ghcr.io/acme/m/t", "ghcr.io/acme/m__t"] {
        group.addTask { try await fixture.walk(fileSystem, spelling).get() }
      }
      #expect(await eventually { heads() >= 1 })
      remote.release()
      for try await entry in group { #expect(entry.node != 0) }
    }
    #expect(remote.requests.filter { $0 == "HEAD ghcr.io/acme/m t" }.count == 1, "\(remote.requests)")
  }

  @Test func whatIsKnownOfATagIsToldWithoutARequest() async throws {
    let fileSystem = try fixture.make()
    let node = try await fixture.walk(fileSystem, path).get().node
    remote.forget()
    _ = try fileSystem.attributes(of: node).get()
    for name in ["reference", "digest", "media_type", "origin"] {
      let value = try await fileSystem.attribute("user.weightfs.\(name)", of: node).value.get()
      #expect(!value.isEmpty)
    }
    #expect(try await fixture.walk(fileSystem, path).get().node == node)
    #expect(remote.requests.isEmpty, "\(remote.requests)")
    // Reading the manifest does not change the values.
    let before = try await fileSystem.attribute("user.weightfs.origin", of: node).value.get()
    _ = try await fixture.list(fileSystem, path)
    #expect(try await fileSystem.attribute("user.weightfs.origin", of: node).value.get() == before)
  }

  @Test(arguments: [ContentError.Code.invalid, .corrupt, .timedOut, .unreachable])
  func aManifestThatCannotBeReadIsNoAbsence(_ code: ContentError.Code) async throws {
    remote.state.withLock { $0.failure = code }
    for spelling in ["ghcr.io/acme/m/t", "ghcr.io/acme/m:t", "ghcr.io/acme/m__t"] {
      let fileSystem = try fixture.make()
      guard case .failure(let error) = await fixture.walk(fileSystem, spelling) else {
        Issue.record("\(spelling) was found")
        continue
      }
      #expect(error.errno == (code == .timedOut ? .timedOut : .ioError), "\(spelling): \(error.errno)")
      #expect(error.isWorthLogging)
    }
  }

  @Test func aTagThatLeadsToNoManifestIsAskedForAgainBeforeItsTimeIsOver() async throws {
    let fileSystem = try fixture.make { $0.resolution.timeToLive = .seconds(600) }
    let node = try await fixture.walk(fileSystem, path).get().node
    let found = try #require(remote.state.withLock { $0.tags.values.first?["t"] })
    // The registry lost the manifest that its answer named, and has another one for the tag.
    try remote.add("ghcr.io/acme/m:t", files: ["new": [2]])
    remote.state.withLock { $0.documents[found.digest] = nil }
    // An answer is trusted for a second, so that a broken tag does not cause a request for each look-up.
    #expect(
      await eventually { await (try? fileSystem.openDirectory(node).value.get()) != nil },
      "the directory opens once the answer is distrusted"
    )
    #expect(try await fixture.list(fileSystem, path) == ["new"])
  }
}
