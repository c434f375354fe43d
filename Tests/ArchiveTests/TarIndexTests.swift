import Archive
import Foundation
import TestSupport
import Testing

/// A tar in memory that counts the bytes read.
final class MemorySource: ByteSource {
  let bytes: [UInt8]
  var bytesRead = 0
  var size: Int64 { Int64(bytes.count) }

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(ArchiveError) -> Int {
    let count = max(0, min(buffer.count, bytes.count - Int(offset)))
    buffer.copyBytes(from: bytes[Int(offset)..<Int(offset) + count])
    bytesRead += count
    return count
  }
}

struct TarIndexTests {
  private func tar(_ folder: TemporaryFolder, _ options: String) async throws -> [UInt8] {
    let result = try await Command.shell("cd '\(folder.path("in"))' && tar \(options) -cf ../out.tar .")
    try #require(result.status == 0, "\(result.error)")
    return try folder.read("out.tar")
  }

  @Test(arguments: ["--format=gnu", "--format=pax", "--format=ustar"])
  func findsTheBytesOfEveryMember(_ format: String) async throws {
    let folder = try TemporaryFolder()
    var files: [String: [UInt8]] = [
      "a": [], "b/c": SeededGenerator.bytes(700_000, seed: 1), "b/ä": [1, 2, 3],
    ]
    if format != "--format=ustar" { files["b/" + String(repeating: "long", count: 60)] = [9] }
    for (name, bytes) in files { try folder.write(bytes, to: "in/\(name)") }
    let bytes = try await tar(folder, format)
    let source = MemorySource(bytes)
    let index = try TarIndex(reading: source)
    var found: [String: [UInt8]] = [:]
    for member in index.members where member.kind == .file {
      let name = String(decoding: member.name, as: UTF8.self)
      found[String(name.dropFirst(2))] = Array(bytes[Int(member.dataOffset)...].prefix(Int(member.size)))
    }
    #expect(found == files)
    // The data of the large member was skipped.
    #expect(source.bytesRead < 100_000)
  }

  @Test func tellsLinksAndModes() async throws {
    let folder = try TemporaryFolder()
    try folder.write([1], to: "in/file")
    let made = try await Command.shell(
      "cd '\(folder.path("in"))' && ln -s file link && ln file hard && chmod 750 file"
    )
    try #require(made.status == 0)
    let members = try TarIndex(reading: MemorySource(try await tar(folder, "--sort=name"))).members
    let byName = Dictionary(
      uniqueKeysWithValues: members.map { (String(decoding: $0.name, as: UTF8.self), $0) }
    )
    #expect(byName["./link"]?.kind == .symbolicLink(target: Array("file".utf8)))
    #expect(byName["./hard"]?.kind == .file || byName["./file"]?.kind == .file)
    #expect(members.contains { if case .hardLink = $0.kind { true } else { false } })
    #expect(byName["./file"]?.mode == 0o750)
  }

  @Test func garbageInTheExpandedSizeOfAMemberThatIsNotSparse() throws {
    var tar = TarMaker()
    tar.add("log", content: Array("fourteen bytes".utf8), expandedSize: 2176)
    tar.add("next", content: [1])
    let members = try TarIndex(reading: MemorySource(tar.finished)).members
    #expect(members.map(\.size) == [14, 1])
  }

  @Test func anAccessListLeavesTheModeOfTheHeader() throws {
    var tar = TarMaker()
    // The group bits are those of the mask; the entry of the owning group has fewer.
    tar.addPAX([("SCHILY.acl.access", "user::rwx,user:joe:rwx,group::r--,mask::rwx,other::--x")])
    tar.add("file", content: [1], mode: 0o771)
    let members = try TarIndex(reading: MemorySource(tar.finished)).members
    #expect(members.map(\.mode) == [0o771])
  }

  @Test(arguments: [1 << 20, 3 << 20, 17 << 20])
  func aLargeAttributeCostsOnlyItself(_ size: Int) throws {
    var tar = TarMaker()
    tar.add("before", content: [1])
    tar.addPAX([
      ("SCHILY.xattr.user.large", String(repeating: "x", count: size)), ("path", "a/long name"),
      ("mtime", "7.5"),
    ])
    tar.add("short", content: Array("content".utf8))
    tar.addPAX([("SCHILY.xattr.user.large", String(repeating: "y", count: size))])
    tar.add("after", content: [3])
    let bytes = tar.finished
    guard size <= 16 << 20 else {
      // A header that needs too much memory is an error, like any damage.
      #expect(throws: ArchiveError.self) { try TarIndex(reading: MemorySource(bytes)) }
      return
    }
    let members = try TarIndex(reading: MemorySource(bytes)).members
    #expect(members.map { String(decoding: $0.name, as: UTF8.self) } == ["before", "a/long name", "after"])
    #expect(
      members.map { Array(bytes[Int($0.dataOffset)...].prefix(Int($0.size))) } == [
        [1], Array("content".utf8), [3],
      ]
    )
    #expect(members.map(\.modificationTime) == [0, 7, 0])
  }

  @Test func aTruncatedTarIsAnError() async throws {
    let folder = try TemporaryFolder()
    try folder.write(SeededGenerator.bytes(50_000, seed: 2), to: "in/file")
    let bytes = try await tar(folder, "")
    #expect(throws: ArchiveError.self) { try TarIndex(reading: MemorySource(Array(bytes.prefix(20_000)))) }
  }

  @Test func rubbishIsAnError() {
    let rubbish = SeededGenerator.bytes(4096, seed: 3)
    #expect(throws: ArchiveError.self) { try TarIndex(reading: MemorySource(rubbish)) }
  }

  @Test func aSparseMemberIsMarked() async throws {
    let folder = try TemporaryFolder()
    try folder.write([], to: "in/sparse")
    let made = try await Command.shell(
      "cd '\(folder.path("in"))' && truncate -s 10M sparse && printf x >>sparse"
    )
    try #require(made.status == 0)
    let members = try TarIndex(reading: MemorySource(try await tar(folder, "-S"))).members
    #expect(members.contains { $0.isSparse })
  }
}
