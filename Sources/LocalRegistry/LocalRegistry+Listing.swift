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

/// The tree of what is on this machine.
extension LocalRegistry {
  /// The registries that something is known of.
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

  /// What is known below a prefix.
  ///
  /// - Parameters:
  ///   - registry: its host.
  ///   - components: of the path, perhaps none.
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
        // What a store has is there whatever the registry says.
        for case .tag(let tag) in more.targets { found.fetched.remove(tag) }
      }
      return found
    }
    return result ?? LocalChildren()
  }

  /// What one name below a prefix is, without looking at the others.
  ///
  /// - Parameters:
  ///   - name: of a tag or a component.
  ///   - registry: its host.
  ///   - components: of the path, perhaps none.
  /// - Returns: what it is, and the artifact where it is a tag that can be read.
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
      // In the same turn: a look-up is as long as its changes of threads.
      let found = try? self.find(Reference(repository: repository, target: .tag(name)))
      return (child, found.flatMap { $0 })
    }
  }

  private func findChild(_ name: String, _ registry: String, _ components: [String]) -> LocalChild {
    var child =
      (try? self.tree.child(name, registry: registry, components: components)) ?? LocalChild()
    for store in self.stores {
      let more = self.attempt(store) { () throws(ContentError) in
        try store.child(name, registry: registry, components: components)
      }
      if let more { child.formUnion(more) }
    }
    return child
  }

  /// Whether a prefix is a repository that something is known of.
  ///
  /// - Parameters:
  ///   - registry: its host.
  ///   - components: of the path.
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

  /// Every artifact that is known here, those of additional stores first; one mention each.
  package func references() async -> [Reference] {
    var found: [Reference] = []
    for registry in await registries() {
      var open: [[String]] = [[]]
      while let components = open.popLast() {
        let children = await children(registry: registry, components: components)
        // A folder that leads in a circle ends at the depth that a name can have.
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
