package import Content

/// Runs work on several items, a limited number in parallel.
package enum ParallelWork {
  /// Processes items in their order; after a failure no further item is started.
  ///
  /// - Parameters:
  ///   - items: The items.
  ///   - limit: The maximum number of items in parallel.
  ///   - body: Processes one item.
  /// - Throws: The first failure.
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
