import BlobCache
import Content
import Foundation
import Logging
@testable import Disk
@testable import LocalRegistry
import OCI
import SystemPackage
import Telemetry
import TestSupport
import Testing

/// No symbolic link inside a local registry is followed; the root itself may be one.
struct ConfinedRootsTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func registry(_ root: String) throws -> LocalRegistry {
    try LocalRegistry(
      root: RegistryRoot(path: FilePath(folder.path(root))),
      additionalStores: [],
      metrics: Metrics(),
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    )
  }

  private func link(_ name: String, to target: String) throws {
    try FileManager.default.createSymbolicLink(
      atPath: folder.path(name),
      withDestinationPath: folder.path(target)
    )
  }

  @Test func theRootItselfMayBeALink() throws {
    try FileManager.default.createDirectory(atPath: folder.path("real"), withIntermediateDirectories: true)
    try link("root", to: "real")
    let registry = try registry("root")
    try registry.pool.store([1, 2, 3], digest: Verification.digest(of: [1, 2, 3]))
    #expect(folder.has("real/.weightfs/blobs/sha256/\(Verification.digest(of: [1, 2, 3]).hex)"))
  }

  @Test(arguments: ["blobs", "state", "locks", "temporary", "partial"])
  func aLinkInsideIsRefusedWithItsPath(_ name: String) throws {
    _ = try registry("root")
    let place = "root/.weightfs/\(name)"
    try FileManager.default.moveItem(atPath: folder.path(place), toPath: folder.path("elsewhere"))
    try link(place, to: "elsewhere")
    let before = folder.files().filter { $0.hasPrefix("elsewhere") }
    let error = #expect(throws: ContentError.self) {
      let registry = try registry("root")
      try registry.pool.store([4, 5], digest: Verification.digest(of: [4, 5]))
      _ = try registry.pool.partial(
        Descriptor(mediaType: .empty, digest: Verification.digest(of: [6]), size: 1)
      )
    }
    #expect("\(error.map { "\($0)" } ?? "")".contains("bind-mount"), "\(String(describing: error))")
    #expect("\(error.map { "\($0)" } ?? "")".contains(folder.path("root/.weightfs")))
    #expect(
      folder.files().filter { $0.hasPrefix("elsewhere") } == before,
      "nothing was written to the target of the link"
    )
  }

  @Test(arguments: [true, false])
  func aLinkInPlaceOfTheLedgerIsRefusedWithItsPath(_ hasTarget: Bool) throws {
    _ = try registry("root")
    let ledger = "root/.weightfs/state/space"
    try FileManager.default.removeItem(atPath: folder.path(ledger))
    if hasTarget { try folder.write(Array("mine".utf8), to: "victim") }
    try link(ledger, to: "victim")
    let error = #expect(throws: ContentError.self) { try registry("root") }
    #expect(error?.subject == folder.path(ledger), "\(String(describing: error))")
    #expect(error?.advice?.contains("bind-mount") ?? false, "\(String(describing: error))")
    #expect(folder.has("victim") == hasTarget, "nothing is made behind the link")
    if hasTarget { #expect(try folder.read("victim") == Array("mine".utf8)) }
  }

  @Test func aLayoutBehindALinkIsRefusedWithItsPath() async throws {
    try LayoutMaker.write(folder, "other/b/__t", layers: [])
    let registry = try registry("root")
    try FileManager.default.createDirectory(
      atPath: folder.path("root/ghcr.io"),
      withIntermediateDirectories: true
    )
    try link("root/ghcr.io/a", to: "other")
    for name in ["ghcr.io/a/b:t", "ghcr.io/a/c:t"] {
      let error = await #expect(throws: ContentError.self) {
        try await registry.artifact(try Reference(parsing: name))
      }
      #expect(error?.subject == folder.path("root/ghcr.io/a"), "\(error.map { "\($0)" } ?? "-")")
      #expect(error?.advice?.contains("bind-mount") ?? false)
    }
    #expect(try await registry.artifact(try Reference(parsing: "ghcr.io/other/c:t")) == nil)
  }

  @Test func aRootThatIsDeletedAndMadeAgainIsUsedAgain() throws {
    let registry = try registry("root")
    try FileManager.default.removeItem(atPath: folder.path("root"))
    let digest = Verification.digest(of: [7])
    #expect(throws: ContentError.self) { try registry.pool.store([7], digest: digest) }
    try FileManager.default.createDirectory(atPath: folder.path("root"), withIntermediateDirectories: true)
    try registry.pool.store([7], digest: digest)
    #expect(folder.has("root/.weightfs/blobs/sha256/\(digest.hex)"))
  }

  /// The implementation for kernels without openat2(2) gives the same results.
  @Test func componentByComponentIsTheSame() throws {
    try folder.write([1], to: "root/a/b/file")
    try link("root/a/link", to: "root/a/b")
    try link("root/a/b/leaf", to: "root/a/b/file")
    let root = open(folder.path("root"), O_RDONLY | O_DIRECTORY)
    defer { close(root) }
    let path = FilePath(folder.path("root"))
    try ConfinedRoots.register(path)
    for (name, isFound) in [
      ("a/b/file", true), ("a/link/file", false), ("a/b/leaf", false), ("a/b/none", false),
      ("a/b/file/x", false),
    ] {
      let walked = ConfinedRoots.walk(root, name, O_RDONLY, 0)
      let walkedError = errno
      let opened = ConfinedRoots.open(path.appending(name), O_RDONLY, 0)
      let openedError = errno
      #expect((walked >= 0) == isFound && (opened >= 0) == isFound, "\(name)")
      if !isFound { #expect(walkedError == openedError, "\(name)") }
      if walked >= 0 { close(walked) }
      if opened >= 0 { close(opened) }
    }
  }

  /// Kernels before 5.6 answer ENOSYS, filters of containers that do not know the call EPERM.
  @Test(arguments: [ENOSYS, EPERM])
  func aKernelWithoutOpenat2IsWalkedComponentByComponent(_ answer: Int32) throws {
    try folder.write([7], to: "root/a/b/file")
    try link("root/a/link", to: "root/a/b")
    try link("root/a/b/leaf", to: "root/a/b/file")
    let root = open(folder.path("root"), O_RDONLY | O_DIRECTORY)
    defer { close(root) }
    func code(_ name: String, _ flags: Int32, _ mode: CInterop.Mode = 0) -> Int32 {
      let found = ConfinedRoots.openBelow(root, name, flags, mode) { _, _, _, _ in -answer }
      guard found >= 0 else { return errno }
      close(found)
      return 0
    }
    let directory = O_RDONLY | O_DIRECTORY
    let create = O_RDWR | O_CREAT
    let cases: [(String, Int32, Int32)] = [
      ("a/b/file", O_RDONLY, 0), (".", directory, 0), ("a/b", directory, 0),
      ("a/link/file", O_RDONLY, ELOOP), ("a/b/leaf", O_RDONLY, ELOOP), ("a/b/leaf", create, ELOOP),
      ("a/link", directory, ELOOP), ("a/link/new", create, ELOOP), ("a/b/none", O_RDONLY, ENOENT),
      ("a/none/file", O_RDONLY, ENOENT), ("a/b/file/x", O_RDONLY, ENOTDIR),
      ("a/b/file", create | O_EXCL, EEXIST),
    ]
    for (name, flags, expected) in cases {
      #expect(code(name, flags, 0o600) == expected, "\(name)")
    }
    #expect(code("a/b/new", create | O_EXCL, 0o640) == 0)
    #expect(try folder.read("root/a/b/new").isEmpty)
    #expect(!folder.has("root/a/b/none"))
  }

  @Test(arguments: [EACCES, ELOOP, ENOENT, EMFILE])
  func anotherAnswerOfOpenat2IsFinal(_ answer: Int32) throws {
    try folder.write([7], to: "root/file")
    let root = open(folder.path("root"), O_RDONLY | O_DIRECTORY)
    defer { close(root) }
    let found = ConfinedRoots.openBelow(root, "file", O_RDONLY, 0) { _, _, _, _ in -answer }
    let code = errno
    #expect(found == -1 && code == answer)
  }
}
