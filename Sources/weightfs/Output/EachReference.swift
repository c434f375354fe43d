import ArgumentParser
import Content
import OCI

/// What a command does for each of several things: one that fails does not keep the others from being done.
enum EachReference {
  /// Reads what a user wrote.
  static func parse(_ texts: [String]) throws(DocumentError) -> [Reference] {
    try texts.map { text throws(DocumentError) in try Reference(parsing: text) }
  }

  /// Does the work; failures are told as they come, and the first one is the command's.
  static func run<Item>(_ items: [Item], _ body: (Item) async throws -> Void) async throws {
    var failure: ContentError?
    for item in items {
      do {
        try await body(item)
      } catch let error as ContentError {
        Terminal.printError("weightfs: \(error)")
        failure = failure ?? error
      }
    }
    if let failure { throw ExitCode(ExitStatus.code(failure)) }
  }
}
