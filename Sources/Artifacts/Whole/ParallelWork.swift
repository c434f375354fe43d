package import Content

/// Work on several things, some at once.
package enum ParallelWork {
  /// Works on items in their order; after a failure nothing more is begun.
  ///
  /// - Parameters:
  ///   - items: what to work on.
  ///   - limit: how many at once.
  ///   - body: the work on one.
  /// - Throws: the first failure.
  package static func run<Item: Sendable>(
    _ items: [Item],
    limit: Int,
    _ body: @escaping @Sendable (Item) async throws(ContentError) -> Void
  ) async throws(ContentError) {
    let failure: ContentError? = await withTaskGroup(of: ContentError?.self) { group in
      var waiting = items[...]
      var first: ContentError?
      func next() {
        guard let item = waiting.popFirst() else { return }
        group.addTask {
          do throws(ContentError) {
            try await body(item)
            return nil
          } catch {
            return error
          }
        }
      }
      for _ in 0..<limit { next() }
      for await error in group {
        if first == nil { first = error }
        if first == nil { next() }
      }
      return first
    }
    if let failure { throw failure }
  }
}
