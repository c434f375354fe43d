import Foundation
import TestSupport
import Testing

/// Compares the targets and their imports with the table in docs/architecture.md, "Targets".
struct ImportTableTests {
  /// The targets of this package that each target may import, according to the table; the table lists all
  /// targets.
  private static let table: [String: Set<String>] = {
    let path = root.appending(path: "docs/architecture.md")
    guard let text = try? String(contentsOf: path, encoding: .utf8) else { return [:] }
    var found: [String: Set<String>] = [:]
    for line in text.split(separator: "\n") where line.hasPrefix("| ") {
      let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      guard cells.count == 4, Int(cells[0]) != nil else { continue }
      let imports =
        cells[3] == "-" ? [] : cells[3].split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
      for target in cells[1].split(separator: " ") {
        found[target.trimmingCharacters(in: ["`"])] = Set(imports)
      }
    }
    return found
  }()
  // A package that only one target may use.
  private static let confined = (module: "TOMLKit", target: "Configuration")
  private static let modulesOfProducts = ["ArgumentParser", "Logging", "SystemPackage"]
  private static let ambient: Set<String> = [
    "Foundation", "FoundationEssentials", "Dispatch", "Glibc",
  ]

  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  private struct Manifest: Decodable {
    struct Target: Decodable {
      struct Dependency: Decodable {
        let name: String

        init(from decoder: any Decoder) throws {
          let container = try decoder.container(keyedBy: AnyKey.self)
          let key = try #require(container.allKeys.first)
          // `["Name", null]` or `["Product", "package", null, null]`.
          var list = try container.nestedUnkeyedContainer(forKey: key)
          name = try list.decode(String.self)
        }
      }
      let name: String
      let type: String
      let dependencies: [Dependency]
    }
    let targets: [Target]
  }

  private struct AnyKey: CodingKey {
    let stringValue: String
    let intValue: Int? = nil
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  /// Returns the Swift files of a target, including its directories.
  private func sources(_ target: String) throws -> [(name: String, text: String)] {
    let folder = Self.root.appending(path: "Sources/\(target)")
    let paths = FileManager.default.enumerator(atPath: folder.path)?.allObjects as? [String] ?? []
    return try paths.filter { $0.hasSuffix(".swift") }.sorted().map {
      ($0, try String(contentsOf: folder.appending(path: $0), encoding: .utf8))
    }
  }

  @Test func thePackageDeclaresTheTable() async throws {
    #expect(Self.table.count > 15, "docs/architecture.md has the table")
    // `swift test` holds the lock of .build while it runs tests.
    let result = try await Command.shell(
      "cd '\(Self.root.path)' && swift package --ignore-lock dump-package 2>/dev/null"
    )
    let manifest = try JSONDecoder().decode(Manifest.self, from: Data(result.output.utf8))
    let targets = manifest.targets.filter { $0.type != "test" && $0.name != "TestSupport" }
    #expect(Set(targets.map(\.name)) == Set(Self.table.keys))
    for target in targets {
      let ours = Set(target.dependencies.map(\.name)).subtracting(Self.modulesOfProducts)
        .subtracting(target.name == Self.confined.target ? [Self.confined.module] : [])
      #expect(ours == Self.table[target.name], "\(target.name)")
    }
  }

  @Test func everyImportStandsInTheTable() throws {
    for (target, allowed) in Self.table
    where !target.hasPrefix("C") || ["Content", "Configuration"].contains(target) {
      for file in try sources(target) {
        for match in file.text.matches(
          of: /(?m)^(?:@\w+ )?(?:package |public |internal )?import (?:\w+ )?(\w+)/
        ) {
          let module = String(match.1)
          let isAllowed =
            allowed.contains(module) || (module == "Synchronization" && target == "Locking")
            || Self.ambient.contains(module)
            || (module == Self.confined.module && target == Self.confined.target)
            || Self.modulesOfProducts.contains(module)
          #expect(isAllowed, "\(target)/\(file.name) imports \(module)")
        }
      }
    }
  }

  @Test func theTableHasNoCircle() { expectNoCircle(Self.table, "the table of targets") }

  private func expectNoCircle(_ arrows: [String: Set<String>], _ subject: String) {
    var done: Set<String> = []
    var left = arrows
    while !left.isEmpty {
      let free = left.filter { $0.value.isSubset(of: done) }.map(\.key)
      guard !free.isEmpty else {
        Issue.record("\(subject): a circle among \(left.keys.sorted())")
        return
      }
      done.formUnion(free)
      for name in free { left[name] = nil }
    }
  }

  /// Returns the directories of a target that each directory refers to, by the names of the types declared
  /// there.
  private func references(in target: String) throws -> [String: Set<String>] {
    var declared: [String: String] = [:]
    var words: [String: Set<String>] = [:]
    let files = try sources(target)
    guard files.contains(where: { $0.name.contains("/") }) else { return [:] }
    for file in files {
      let directory = file.name.contains("/") ? String(file.name.prefix { $0 != "/" }) : ""
      // Comments and strings are removed, as they refer to no type; so are members, which may have the names
      // of types.
      let code = file.text.replacing(/\/\/.*/, with: "").replacing(/"(?:[^"\\\n]|\\.)*"/, with: "\"\"")
        .replacing(/\.\w+/, with: "")
      for match in code.matches(of: /(?m)^(?:package |final )*(?:struct|class|enum|actor|protocol) (\w+)/) {
        declared[String(match.1)] = directory
      }
      let found = code.split { !$0.isLetter && !$0.isNumber && $0 != "_" }.map(String.init)
      words[directory, default: []].formUnion(found)
    }
    return words.reduce(into: [:]) { references, entry in
      let others = Set(entry.value.compactMap { declared[$0] })
      references[entry.key] = others.subtracting([entry.key])
    }
  }

  @Test func theDirectoriesOfATargetHaveNoCircle() throws {
    var directories = 0
    for target in Self.table.keys {
      let references = try references(in: target)
      directories += references.count
      expectNoCircle(references, target)
    }
    #expect(directories > 3, "no target has directories")
  }

  /// The kind of a layout is a property of the protocol, so that a new store is one new file.
  @Test func nobodyAsksForAConcreteLayout() throws {
    for target in Self.table.keys {
      for file in try sources(target) {
        #expect(!file.text.contains(/\b(?:as\??|is) OCI(?:Directory|Archive)\b/), "\(target)/\(file.name)")
      }
    }
  }

  @Test func unsafeConcurrencyStaysWhereCIs() throws {
    for target in Self.table.keys
    where !["FUSE", "HTTP", "Archive", "Hashing", "Locking", "CFUSE", "CArchive", "CCurl", "COpenSSL"]
      .contains(target)
    {
      for file in try sources(target) {
        #expect(
          !file.text.contains(/@unchecked Sendable|nonisolated\(unsafe\)|Unmanaged/),
          "\(target)/\(file.name)"
        )
      }
    }
    for target in ["FUSE", "HTTP", "Archive", "Hashing", "Locking"] {
      for file in try sources(target)
      where file.text.contains(/@unchecked Sendable|nonisolated\(unsafe\)|Unmanaged/) {
        #expect(file.text.contains("// SAFETY:"), "\(target)/\(file.name) gives no reason")
      }
    }
  }

  /// A function fits on a screen.
  @Test func noFunctionHasMoreThanFiftyLines() throws {
    var count = 0
    for target in Self.table.keys {
      for file in try sources(target) where file.name.hasSuffix(".swift") {
        let lines = file.text.split(separator: "\n", omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
          guard let end = Self.bodyEnd(of: index, in: lines) else { continue }
          count += 1
          let title = line.drop { $0 == " " }
          #expect(
            end - index < 50,
            "\(target)/\(file.name):\(index + 1) \(title) has \(end - index + 1) lines"
          )
        }
      }
    }
    #expect(count > 1000, "functions are found: \(count)")
  }

  /// The last line of the function that is declared at a line; nil where none is, or its body is on that line.
  private static func bodyEnd(of start: Int, in lines: [Substring]) -> Int? {
    guard lines[start].contains("func ") || lines[start].contains("init"),
      lines[start].contains(/^ *([@a-z()]+ )*(func |init[?(<]|deinit )/)
    else { return nil }
    var (line, depth) = (start, 0)
    while line < lines.count {
      for character in lines[line] {
        if character == "(" { depth += 1 } else if character == ")" { depth -= 1 }
      }
      if depth == 0 { break }
      line += 1
    }
    // The arrow and the where clause may stand on lines of their own.
    while line + 1 < lines.count, !lines[line].hasSuffix("{"),
      lines[line + 1].contains(/^ *(async|throws|->|where|\{|let |$)/), line - start < 30,
      !lines[line].hasSuffix("}")
    { line += 1 }
    guard line < lines.count, lines[line].hasSuffix("{") else { return nil }
    let close = String(lines[start].prefix { $0 == " " }) + "}"
    return lines[line...].firstIndex { $0 == close }
  }

  /// The frames of async functions are always aligned to 16 bytes, so release builds write past the end of a
  /// frame that holds a value with a larger alignment.
  @Test func noTypeNeedsMoreAlignmentThanAnAsyncFrameHas() throws {
    // Types of at most 16 bytes; all other vector types are larger or of unknown size.
    let small: Set<String> = [
      "SIMD2<UInt8>", "SIMD4<UInt8>", "SIMD8<UInt8>", "SIMD16<UInt8>", "SIMD2<Int8>", "SIMD4<Int8>",
      "SIMD8<Int8>", "SIMD16<Int8>", "SIMD2<UInt16>", "SIMD4<UInt16>", "SIMD8<UInt16>", "SIMD2<UInt32>",
      "SIMD4<UInt32>", "SIMD2<UInt64>",
    ]
    var count = 0
    for target in Self.table.keys
    where !target.hasPrefix("C") || ["Content", "Configuration"].contains(target) {
      for file in try sources(target) {
        count += 1
        #expect(!file.text.contains("@_alignment"), "\(target)/\(file.name) sets an alignment")
        for match in file.text.matches(of: /SIMD\d+(?:<\s*\w+\s*>)?/) {
          let type = match.0.filter { !$0.isWhitespace }
          #expect(small.contains(type), "\(target)/\(file.name) has a \(type)")
        }
      }
    }
    #expect(count > 100, "the sources were not found")
  }

  /// The messages of the page are those of the program; `…` stands for what differs.
  @Test func theMessagesOfTheTroubleshootingPageAreInTheSources() throws {
    let page = try String(contentsOf: Self.root.appending(path: "docs/troubleshooting.md"), encoding: .utf8)
    let text = try Self.table.keys.flatMap { try sources($0) }.map(\.text).joined()
    let messages = page.matches(of: /(?m)^\| `([^`]+)`/).map { $0.1 }
    #expect(messages.count > 8)
    for message in messages {
      for part in message.split(separator: "…").map({ $0.trimmingCharacters(in: .whitespaces) })
      where part.count > 2 {
        let isThere = text.contains(part)
        #expect(isThere, "no message has '\(part)'")
      }
    }
  }

  /// Each section of the page names the tests that prove it.
  @Test func eachSectionOfTheSemanticsNamesItsTests() throws {
    let page = try String(contentsOf: Self.root.appending(path: "docs/semantics.md"), encoding: .utf8)
    let sections = page.components(separatedBy: "\n## ").dropFirst()
    var sources: [String] = []
    let folder = FileManager.default.enumerator(atPath: Self.root.appending(path: "Tests").path)
    for case let name as String in folder ?? .init() where name.hasSuffix("Tests.swift") {
      sources.append(try String(contentsOf: Self.root.appending(path: "Tests/\(name)"), encoding: .utf8))
    }
    #expect(sections.count > 10 && sources.count > 40, "the page or the tests were not found")
    for section in sections {
      let named = section.matches(of: /`(\w+Tests)\.(\w+)`/)
      #expect(!named.isEmpty, "'\(section.prefix { $0 != "\n" })' names no test")
      for match in named {
        let (suite, test) = (match.1, match.2)
        #expect(
          sources.contains { $0.contains("struct \(suite)") && $0.contains("func \(test)(") },
          "there is no test \(suite).\(test)"
        )
      }
    }
  }

  @Test func filesStayShortAndNameNoMachine() throws {
    for target in Self.table.keys
    where FileManager.default.fileExists(atPath: Self.root.appending(path: "Sources/\(target)").path) {
      for file in try sources(target) {
        #expect(
          file.text.split(separator: "\n", omittingEmptySubsequences: false).count <= 400,
          "\(target)/\(file.name)"
        )
        // The path of this checkout is specific to a machine.
        #expect(!file.text.contains(Self.root.path + "/"), "\(target)/\(file.name)")
      }
    }
  }
}
