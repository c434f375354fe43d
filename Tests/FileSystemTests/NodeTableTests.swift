import Artifacts
@testable import ArtifactTree
import Content
import Disk
@testable import FileSystem
import OCI
import SystemPackage
import TestSupport
import Testing

/// The kernel's look-ups of nodes, counted without a file system around them.
struct NodeTableTests {
  private static func root() -> Node { node(NodeTable.rootIdentifier, .root) }

  private static func node(_ identifier: UInt64, _ kind: Node.Kind) -> Node {
    Node(identifier: identifier, inode: identifier &+ 100, parent: 1, path: "n\(identifier)", kind: kind)
  }

  /// A file of one byte that is all of its blob.
  private func file(_ byte: UInt8, offset: Int64 = 0, promise: ModelMagic? = nil) -> FileNode {
    let blob = Descriptor(mediaType: .empty, digest: Verification.digest(of: [byte]), size: 1)
    let key = FileNode.Key(
      digest: blob.digest,
      blobSize: blob.size,
      offset: offset,
      size: 1,
      mode: 0o444,
      modificationTime: 0,
      promise: promise
    )
    return FileNode(key: key, content: FileContent(whole: blob))
  }

  private func look(_ table: inout NodeTable, _ file: FileNode) -> Node {
    table.lookUp(.file(file.key)) { Self.node($0, .file(file)) }
  }

  private func name(_ text: String, in parent: UInt64 = 1) throws -> NodeTable.Key {
    .name(parent: parent, name: try #require(EntryName(Array(text.utf8))))
  }

  private func look(_ table: inout NodeTable, _ key: NodeTable.Key) -> Node {
    table.lookUp(key) { Self.node($0, .registry("example.com")) }
  }

  @Test func twoNamesOfTheSameBytesAreOneNode() {
    var table = NodeTable(root: Self.root())
    let first = look(&table, file(1))
    let second = look(&table, file(1))
    #expect(first === second)
    #expect(table.count == 2 && table.rememberedFiles == 1)
    // The same blob under other attributes is another file.
    var numbers: Set<UInt64> = [first.identifier]
    for other in [file(2), file(1, offset: 1), file(1, promise: .gguf)] {
      let node = look(&table, other)
      numbers.insert(node.identifier)
    }
    #expect(numbers.count == 4)
    #expect(table.files(of: Verification.digest(of: [1])).count == 3)
    #expect(table.files(of: Verification.digest(of: [9])).isEmpty)
  }

  @Test func aNodeLivesUntilEachLookUpWasForgotten() {
    var table = NodeTable(root: Self.root())
    let node = look(&table, file(1))
    for _ in 0..<4 { _ = look(&table, file(1)) }
    table.forget(node.identifier, 3)
    #expect(table.node(node.identifier) === node)
    table.forget(node.identifier, 2)
    #expect(table.node(node.identifier) == nil && table.node(.file(file(1).key)) == nil)
    #expect(table.count == 1 && table.rememberedFiles == 0)
  }

  @Test func forgettingMoreThanWasLookedUpHarmsNothing() {
    var table = NodeTable(root: Self.root())
    let node = look(&table, file(1))
    table.forget(node.identifier, .max)
    table.forget(node.identifier, 1)
    table.forget(4711, 1)
    #expect(table.count == 1 && table.rememberedFiles == 0)
    table.forget(NodeTable.rootIdentifier, .max)
    #expect(table.node(NodeTable.rootIdentifier) != nil, "the root stays")
  }

  @Test func aNumberIsNeverUsedTwice() throws {
    var table = NodeTable(root: Self.root())
    var numbers: Set<UInt64> = [NodeTable.rootIdentifier]
    let key = try name("a")
    for round in 0..<50 as Range<UInt8> {
      let node = round.isMultiple(of: 2) ? look(&table, file(round)) : look(&table, key)
      let isNew = numbers.insert(node.identifier).inserted
      #expect(isNew, "\(node.identifier)")
      table.forget(node.identifier, 1)
    }
    #expect(table.count == 1)
  }

  @Test func directoriesOfDifferentParentsAndManifestsAreNotShared() throws {
    var table = NodeTable(root: Self.root())
    let entry = try #require(EntryName(Array("t".utf8)))
    let digests = [nil, Verification.digest(of: [1]), Verification.digest(of: [2])]
    var keys = [try name("t"), try name("t", in: 7)]
    keys += digests.map { NodeTable.Key.artifact(parent: 1, name: entry, digest: $0) }
    let numbers = keys.map { look(&table, $0).identifier }
    #expect(Set(numbers).count == keys.count)
    let again = keys.map { look(&table, $0).identifier }
    #expect(again == numbers)
  }

  @Test func aRetiredNodeLivesOnUnderItsNumberAlone() throws {
    var table = NodeTable(root: Self.root())
    let old = look(&table, file(1))
    table.retire(old)
    let new = look(&table, file(1))
    #expect(new !== old && table.node(old.identifier) === old)
    // The end of the old one takes nothing from the new one.
    table.forget(old.identifier, 1)
    #expect(table.node(.file(file(1).key)) === new)
    #expect(table.count == 2 && table.rememberedFiles == 1)
    let key = try name("a")
    let directory = look(&table, key)
    table.retire(directory)
    #expect(table.node(key) == nil && table.node(directory.identifier) === directory)
  }

  @Test func aSecondKeyLeadsToTheSameNodeAndGoesWithIt() throws {
    var table = NodeTable(root: Self.root())
    let first = try name("a")
    let second = try name("b")
    let node = look(&table, first)
    table.alias(node, second)
    let found = look(&table, second)
    #expect(found === node)
    let other = look(&table, try name("c"))
    table.alias(other, second)
    #expect(table.node(second) === node, "a key that is taken stays where it is")
    table.remove(first, of: other)
    #expect(table.node(first) === node, "a key is removed of its own node alone")
    table.remove(first, of: node)
    #expect(table.node(first) == nil && table.node(second) === node)
    table.forget(node.identifier, 2)
    #expect(table.node(second) == nil)
    table.alias(node, first)
    #expect(table.node(first) == nil, "a node that was forgotten gets no key")
  }

  @Test func theOldestFilesThatAreNotOpenAreAskedForOnce() throws {
    var table = NodeTable(root: Self.root())
    let folder = try TemporaryFolder()
    let identity = try FileIdentity(at: FilePath(try folder.write([1], to: "file")))
    let nodes = (0..<6 as Range<UInt8>).map { look(&table, file($0)) }
    _ = look(&table, try name("directory"))
    guard case .file(let served) = nodes[0].kind, case .file(let passing) = nodes[2].kind else {
      Issue.record("files are of another kind")
      return
    }
    _ = served.withModes { $0.open(nil) }
    _ = passing.withModes { modes in
      _ = modes.open(identity)
      return modes.install(7, identity)
    }
    let taken = table.takeIdleFiles(2)
    #expect(taken.map(\.identifier) == [nodes[1].identifier, nodes[3].identifier])
    #expect(table.rememberedFiles == 4)
    // The kernel looks one of them up again before it forgets: it is remembered again.
    _ = look(&table, file(3))
    #expect(table.rememberedFiles == 5)
    let rest = table.takeIdleFiles(10)
    #expect(rest.map(\.identifier) == [nodes[3], nodes[4], nodes[5]].map(\.identifier))
    for node in nodes { table.forget(node.identifier, 2) }
    #expect(table.rememberedFiles == 0 && table.count == 2)
    withExtendedLifetime(folder) {}
  }

  /// Against a model: which numbers are alive and with how many look-ups.
  @Test(arguments: SeededGenerator.seeds(1...20))
  func anyOrderOfLookUpsAndForgetsKeepsTheCounts(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var table = NodeTable(root: Self.root())
    var counts: [UInt64: UInt64] = [:]
    for _ in 0..<500 {
      switch Int.random(in: 0..<5, using: &generator) {
      case 0...2:
        let node = look(&table, file(UInt8.random(in: 0..<12, using: &generator)))
        counts[node.identifier, default: 0] += 1
      case 3:
        let alive = counts.keys.sorted()
        guard let identifier = alive.randomElement(using: &generator), let count = counts[identifier] else {
          continue
        }
        let forgotten = UInt64.random(in: 1...count, using: &generator)
        table.forget(identifier, forgotten)
        counts[identifier] = count == forgotten ? nil : count - forgotten
      default:
        let alive = counts.keys.sorted()
        guard let node = alive.randomElement(using: &generator).flatMap({ table.node($0) }) else { continue }
        table.retire(node)
      }
      #expect(table.count == counts.count + 1, "seed \(seed)")
      #expect(table.rememberedFiles == counts.count, "seed \(seed)")
      let areAlive = counts.keys.allSatisfy { table.node($0) != nil }
      #expect(areAlive, "seed \(seed)")
    }
  }
}
