import ArgumentParser
import Content
import OCI

/// Processes several arguments; a failure of one does not prevent the others.
enum EachReference {
  /// Parses arguments as references.
  static func parse(_ texts: [String]) throws(DocumentError) -> [Reference] {
    try texts.map { text throws(DocumentError) in try Reference(parsing: text) }
  }

  /// Processes the items; prints each failure, and throws the first one at the end.
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
