import Archive
package import Content
package import OCI

/// The members of tar layers, cached by digest; concurrent readers of a layer share the work.
package actor TarIndexCache {
  private var known: [Digest: TarIndex] = [:]
  private var order: [Digest] = []
  private let flights = SingleFlight<Digest, TarIndex>()
  /// Incremented with each layer that turned out wrong.
  private var generation = 0
  nonisolated let executor: BlockingExecutor

  private var memory = 0

  // Bytes. A layer has some thousand members; an index of a million members takes about 70 MB. The newest
  // index is always kept.
  private static let memoryLimit = 32 << 20

  /// Creates an empty cache.
  ///
  /// - Parameter executor: Runs libarchive, which blocks while it waits for bytes.
  package init(executor: BlockingExecutor) { self.executor = executor }

  func index(of layer: Descriptor, bytes: any LayerBytes) async throws(ContentError) -> TarIndex {
    if let index = known[layer.digest] { return index }
    let (executor, before) = (executor, generation)
    return try await flights.value(for: layer.digest) { () async throws(ContentError) in
      let index = try await executor.run { () throws(ContentError) in try Self.read(layer, bytes) }
      await self.keep(index, layer.digest, before)
      return index
    }
  }

  private func keep(_ index: TarIndex, _ digest: Digest, _ before: Int) {
    // If a layer was removed from the cache meanwhile, the index may be wrong and is not cached.
    guard generation == before else { return }
    if known.updateValue(index, forKey: digest) == nil {
      order.append(digest)
      memory += Self.memory(of: index)
    }
    while memory > Self.memoryLimit, order.count > 1 { forget(order.removeFirst()) }
  }

  /// Forgets the members of a layer that turned out wrong.
  package func remove(_ digest: Digest) {
    forget(digest)
    generation += 1
    flights.forget(digest)
    order.removeAll { $0 == digest }
  }

  private func forget(_ digest: Digest) {
    if let index = known.removeValue(forKey: digest) { memory -= Self.memory(of: index) }
  }

  private static func memory(of index: TarIndex) -> Int { index.members.memory + 256 }

  private static func read(_ layer: Descriptor, _ bytes: any LayerBytes) throws(ContentError) -> TarIndex {
    let source = LayerSource(layer: layer, bytes: bytes)
    do throws(ArchiveError) {
      return try TarIndex(reading: source)
    } catch {
      throw source.error
        ?? ContentError(
          .corrupt,
          "\(layer.digest)",
          "cannot read the tar layer: \(error)",
          underlying: error
        )
    }
  }
}
