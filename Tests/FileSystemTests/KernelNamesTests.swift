import FileSystem
import Synchronization
import TestSupport
import Testing

/// The kernel remembers names as long as it has memory; the daemon's part of that is limited.
struct KernelNamesTests {
  @Test func theOldestNamesThatNobodyHasOpenAreTakenBack() async throws {
    let fixture = try FileSystemFixture()
    let files = (0..<310).map { ("f\($0)", [UInt8("\($0)".utf8.count)] + Array("\($0)".utf8)) }
    try fixture.remote.add("ghcr.io/acme/m:t", files: Dictionary(uniqueKeysWithValues: files))
    let fileSystem = try fixture.make { $0.rememberedFiles = 300 }
    let taken = Mutex<[FileSystem.KernelName]>([])
    fileSystem.onForgetting { names in taken.withLock { $0 += names } }
    let folder = try await fixture.walk(fileSystem, "ghcr.io/acme/m:t").get().node
    var nodes: [[UInt8]: UInt64] = [:]
    func look(_ number: Int) async throws {
      let name = Array("f\(number)".utf8)
      nodes[name] = try await fileSystem.lookUp(name, in: folder).value.get().node
    }
    for number in 0..<10 { try await look(number) }
    // Open files are not forgotten.
    let open = try await fileSystem.open(try #require(nodes[Array("f7".utf8)])).value.get()
    for number in 10..<310 { try await look(number) }
    let names = taken.withLock { $0 }
    #expect((100...200).contains(names.count), "\(names.count)")
    #expect(names.allSatisfy { $0.parent == folder })
    #expect(names.contains { $0.name == Array("f0".utf8) })
    #expect(!names.contains { $0.name == Array("f7".utf8) || $0.name == Array("f309".utf8) })
    let before = fileSystem.nodeCount
    for name in names { fileSystem.forget(try #require(nodes[name.name]), 1) }
    #expect(fileSystem.nodeCount == before - names.count)
    // A forgotten name can be looked up again, and gets another node.
    let again = try await fileSystem.lookUp(Array("f0".utf8), in: folder).value.get()
    #expect(again.node != 0 && again.node != nodes[Array("f0".utf8)])
    fileSystem.close(open.handle)
  }

  @Test func foldersOutliveTheirTreesInMemory() async throws {
    let fixture = try FileSystemFixture()
    for tag in 0..<30 {
      let files = (0..<20).map { ("sub/inner/file-\(tag)-\($0)", [UInt8(tag), UInt8($0)]) }
      try fixture.remote.add("ghcr.io/acme/m:t\(tag)", files: Dictionary(uniqueKeysWithValues: files))
    }
    // Enough memory for a few of the thirty artifacts.
    let fileSystem = try fixture.make(memoryLimit: 100_000)
    var folders: [UInt64] = []
    for tag in 0..<30 {
      let folder = try await fixture.walk(fileSystem, "ghcr.io/acme/m:t\(tag)/sub/inner").get().node
      fileSystem.closeDirectory(try await fileSystem.openDirectory(folder).value.get())
      folders.append(folder)
    }
    let created = try folders.map { try fileSystem.attributes(of: $0).get().modificationTime }
    fixture.remote.forget()
    for (tag, folder) in folders.enumerated() {
      let name = Array("file-\(tag)-19".utf8)
      #expect(try await fileSystem.lookUp(name, in: folder).value.get().node != 0)
    }
    #expect(try folders.map { try fileSystem.attributes(of: $0).get().modificationTime } == created)
    // Released artifacts are loaded again from the local registry.
    #expect(fixture.remote.requests.isEmpty, "\(fixture.remote.requests)")
  }
}
