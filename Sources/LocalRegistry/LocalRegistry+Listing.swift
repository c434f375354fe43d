import Layouts
package import Stores
import BlobCache
import Content
import Logging
package import OCI
import Locking
import SystemPackage
import Telemetry
import Disk

/// The tree of artifacts on this machine.
extension LocalRegistry {
  /// Returns the registries with artifacts on this machine.
  package func registries() async -> [String] {
    let result: Set<String>? = try? await executor.run { () throws(ContentError) in
      var found = Set((try? self.tree.registries()) ?? [])
      for store in self.stores {
        found.formUnion(self.attempt(store) { () throws(ContentError) in try store.registries() } ?? [])
      }
      return found
    }
    return (result ?? []).sorted()
  }

  /// Returns the names below a prefix.
  ///
  /// - Parameters:
  ///   - registry: The host.
  ///   - components: The path components, possibly none.
  package func children(registry: String, components: [String]) async -> LocalChildren {
    let result: LocalChildren? = try? await executor.run { () throws(ContentError) in
      var found = (try? self.tree.children(registry: registry, components: components)) ?? LocalChildren()
      if let name = RepositoryName(registry: registry, path: components.joined(separator: "/")) {
        for case .tag(let tag) in found.targets {
          let reference = Reference(repository: name, target: .tag(tag))
          if OriginRecord.exists(self.root, reference) { found.fetched.insert(tag) }
        }
      }
      for store in self.stores {
        let more = self.attempt(store) { () throws(ContentError) in
          try store.children(registry: registry, components: components)
        }
        guard let more else { continue }
        found.formUnion(more)
        // A tag of a store exists regardless of the registry.
        for case .tag(let tag) in more.targets { found.fetched.remove(tag) }
      }
      return found
    }
    return result ?? LocalChildren()
  }

  /// Classifies one name below a prefix, without reading the other names.
  ///
  /// - Parameters:
  ///   - name: A tag or a path component.
  ///   - registry: The host.
  ///   - components: The path components, possibly none.
  /// - Returns: The classification, and the artifact if the name is a tag that can be read.
  package func child(
    _ name: String,
    registry: String,
    components: [String]
  ) async -> (child: LocalChild, artifact: LocalArtifact?) {
    await executor.ask {
      let child = self.findChild(name, registry, components)
      guard child.isTag,
        let repository = RepositoryName(registry: registry, path: components.joined(separator: "/"))
      else { return (child, nil) }
      // On the same thread: the time of a look-up is mostly that of thread switches.
      let found = try? self.find(Reference(repository: repository, target: .tag(name)))
      return (child, found.flatMap { $0 })
    }
  }

  private func findChild(_ name: String, _ registry: String, _ components: [String]) -> LocalChild {
    var child =
      // A directory that cannot be read counts as absent here; opening it reports why.
      (try? self.tree.child(name, registry: registry, components: components)) ?? LocalChild()
    for store in self.stores {
      let more = self.attempt(store) { () throws(ContentError) in
        try store.child(name, registry: registry, components: components)
      }
      if let more { child.formUnion(more) }
    }
    return child
  }

  /// Whether a prefix is a repository with artifacts on this machine.
  ///
  /// - Parameters:
  ///   - registry: The host.
  ///   - components: The path components.
  package func hasTags(registry: String, components: [String]) async -> Bool {
    await executor.ask {
      if (try? self.tree.hasTags(registry: registry, components: components)) ?? false { return true }
      return self.stores.contains { store in
        self.attempt(store) { () throws(ContentError) in
          try store.hasTags(registry: registry, components: components)
        } ?? false
      }
    }
  }

  /// Returns every artifact on this machine once, those of additional stores first.
  package func references() async -> [Reference] {
    var found: [Reference] = []
    for registry in await registries() {
      var open: [[String]] = [[]]
      while let components = open.popLast() {
        let children = await children(registry: registry, components: components)
        // The maximum depth of a name also ends a cycle of directories.
        if components.count < 64 {
          open += children.components.sorted(by: >).map { components + [$0] }
        }
        guard let name = RepositoryName(registry: registry, path: components.joined(separator: "/")) else {
          continue
        }
        found += children.targets.sorted { "\($0)" < "\($1)" }.map { Reference(repository: name, target: $0) }
      }
    }
    return found
  }
}
