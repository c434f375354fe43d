import Foundation
import TestSupport
import Testing

/// The matrix of docs/errors.md: its rows, and how one is held against a mount and a command.
struct FaultMatrix {
  /// A row: the fault as the document calls it, and what the document says of it.
  struct Row {
    let fault: String
    /// `-` where the read succeeds.
    let errno: String
    let status: Int32
    /// A part of a line; `-` where nothing is logged.
    let log: String
    let again: String
  }

  let rows: [Row]

  // strerror(3) of the C locale.
  private static let texts = [
    "ENOENT": "No such file", "EACCES": "Permission denied", "EIO": "Input/output error",
    "ETIMEDOUT": "timed out", "ENETUNREACH": "Network is unreachable",
  ]

  init() throws {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let text = try String(contentsOf: root.appending(path: "docs/errors.md"), encoding: .utf8)
    let section =
      text.components(separatedBy: "## The matrix\n").last?.components(separatedBy: "\n## ").first ?? ""
    rows = section.split(separator: "\n").filter { $0.hasPrefix("| ") }.dropFirst().compactMap { line in
      let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      guard cells.count == 5, let status = Int32(cells[2]) else { return nil }
      return Row(
        fault: cells[0],
        errno: cells[1],
        status: status,
        log: cells[3].trimmingCharacters(in: ["`"]),
        again: cells[4]
      )
    }
  }

  /// Holds a row against a read through a mount, and against `weightfs cat`.
  ///
  /// - Parameters:
  ///   - fault: names the row.
  ///   - name: `HOST/REPOSITORY:t`, an artifact with a `model.gguf`.
  ///   - mount: of a tree.
  ///   - logged: what the lines of the log that count have in them; nil for the name without its tag.
  ///   - cat: runs the command; returns how it ended, and how often its most frequent request was sent.
  func check(
    _ fault: String,
    _ name: String,
    _ mount: MountProcess,
    logged: String? = nil,
    cat: () async throws -> (result: Command.Result, requests: Int)
  ) async throws {
    let row = try #require(rows.first { $0.fault == fault }, "'\(fault)' has no row")
    let read = try await Command.shell("head -c 4 '\(mount.path(name))/model.gguf'")
    if row.errno == "-" {
      #expect(read.output == "GGUF", "\(fault): \(read.error)")
    } else {
      let text = try #require(Self.texts[row.errno])
      #expect(read.error.contains(text), "\(fault): \(read.error)")
    }
    let subject = logged ?? String(name.dropLast(2))
    let lines = mount.messages.split(separator: "\n").filter { $0.contains(subject) }
    if row.log == "-" {
      #expect(lines.allSatisfy { !$0.contains("operation failed") }, "\(fault): \(lines)")
    } else {
      #expect(lines.contains { $0.contains(row.log) }, "\(fault): \(lines)")
    }
    let (result, requests) = try await cat()
    #expect(result.status == row.status, "\(fault): \(result.status) \(result.error)")
    // Once without credentials, or by another address, is no retry of a fault.
    switch row.again {
    case "yes": #expect(requests > 2, "\(fault): \(requests) times")
    case "no": #expect(requests <= 2, "\(fault): \(requests) times")
    default:
      let most = try #require(row.again.split(separator: " ").first.flatMap { Int($0) })
      #expect(requests <= most + 1, "\(fault): \(requests) times")
    }
  }

  /// How often the most frequent request was sent, by what a command logs at the level `debug`.
  static func mostFrequentRequest(in log: String) -> Int {
    var counts: [String: Int] = [:]
    for match in log.matches(of: /a request .*host=(\S+) method=(\S+) path=(\S+)/) {
      counts["\(match.1) \(match.2) \(match.3)", default: 0] += 1
    }
    return counts.values.max() ?? 0
  }
}
