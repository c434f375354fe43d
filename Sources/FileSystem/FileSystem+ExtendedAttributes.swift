import Artifacts
import Stores
import Layouts
import ArtifactTree
import Content
import Fetching
import LocalRegistry
import OCI
import Locking
import SystemPackage

/// The extended attributes `user.weightfs.*`: the state of files and the origin of artifacts.
extension FileSystem {
  private static let prefix = "user.weightfs."
  private static let fileNames = ["digest", "state", "cached_bytes", "verified", "served"]
  // Annotations of the layer, such as those of OMMX: `user.weightfs.annotation.org.ommx.v1.instance.title`.
  private static let annotationPrefix = "annotation."
  // xattr(7): the longest name and the largest value in bytes.
  private static let longestName = 255
  private static let largestValue = 65_536
  // Linux returns at most 64 KiB of names (xattr(7)).
  private static let mostNames = 200
  private static let artifactNames = ["reference", "digest", "media_type", "origin"]

  /// Returns the names of a node's extended attributes, without resolving anything.
  ///
  /// - Parameter identifier: The number of a node.
  package func attributeNames(of identifier: UInt64) -> [String] {
    switch node(identifier)?.kind {
    case .file(let file): (Self.fileNames + Self.annotationNames(of: file)).map { Self.prefix + $0 }
    case .artifact: Self.artifactNames.map { Self.prefix + $0 }
    default: []
    }
  }

  /// Returns the names for the annotations of a file's layer; those that no attribute can have are omitted.
  private static func annotationNames(of file: FileNode) -> [String] {
    guard file.content.isWholeBlob else { return [] }
    let usable = file.content.blob.annotations.filter { key, value in
      (prefix + annotationPrefix + key).utf8.count <= longestName && value.utf8.count <= largestValue
        && !key.isEmpty && !key.utf8.contains(0)
    }
    return usable.keys.sorted().prefix(mostNames).map { annotationPrefix + $0 }
  }

  private func currentLayout(of file: FileNode) async -> (any LocalRepository)? {
    guard let home = file.homes.first else { return nil }
    // A layout that cannot be read has no state to tell; the pool is asked in any case.
    return try? await layout(of: home, for: file.content.blob.digest)
  }

  /// Returns the value of an extended attribute.
  ///
  /// - Parameters:
  ///   - name: The name as the kernel passes it.
  ///   - identifier: The number of a node.
  ///   - user: The user who asks; nil for weightfs itself.
  /// - Returns: ENODATA for a name that is not one of weightfs' own, without sending a request.
  package func attribute(_ name: String, of identifier: UInt64, user: UInt32? = nil) -> Outcome<[UInt8]> {
    let none: Outcome<[UInt8]> = .now(.failure(FileSystemError(.noData)))
    guard name.hasPrefix(Self.prefix), let node = node(identifier) else { return none }
    let key = String(name.dropFirst(Self.prefix.count))
    switch node.kind {
    case .file(let file):
      if key.hasPrefix(Self.annotationPrefix), file.content.isWholeBlob {
        let value = file.content.blob.annotations[String(key.dropFirst(Self.annotationPrefix.count))]
        guard let value, value.utf8.count <= Self.largestValue else { return none }
        return .now(.success(Array(value.utf8)))
      }
      guard Self.fileNames.contains(key) else { return none }
      switch key {
      case "digest": return .now(.success(Array("\(file.content.blob.digest)".utf8)))
      case "served":
        return .later { .success(Array((await self.isPassing(file) ? "passthrough" : "daemon").utf8)) }
      default:
        return .later {
          let status = await self.store.status(
            file.content.blob,
            layout: await self.currentLayout(of: file),
            range: file.content.range
          )
          let text =
            switch key {
            case "state": status.presence.rawValue
            case "cached_bytes": "\(status.cachedBytes)"
            default: status.verified.rawValue
            }
          return .success(Array(text.utf8))
        }
      }
    case .artifact(let slot):
      guard Self.artifactNames.contains(key) else { return none }
      if let artifact = slot.bound { return .now(.success(Self.value(key, artifact))) }
      // Values known since the look-up are returned without a request.
      if let value = Self.value(key, slot) { return .now(.success(value)) }
      return .later {
        do throws(ContentError) {
          return .success(Self.value(key, try await self.bind(node, slot, self.names(for: user))))
        } catch {
          return self.failed(error)
        }
      }
    default: return none
    }
  }

  /// Whether the kernel reads a file by passthrough, or would if the file were opened now.
  private func isPassing(_ file: FileNode) async -> Bool {
    if file.withModes({ $0.isPassing }) { return true }
    guard let blob = try? await openBlob(file), let candidate = backingFile(file, blob) else { return false }
    // Whether the kernel accepts a file is known only after a registration.
    guard let number = passthrough.register(candidate) else { return false }
    passthrough.remove(number)
    return true
  }

  /// Returns the value of an attribute that is known without the manifest, or nil.
  private static func value(_ key: String, _ slot: ArtifactSlot) -> [UInt8]? {
    guard let reference = slot.reference else { return nil }
    if key == "reference" { return Array("\(reference)".utf8) }
    guard let resolution = slot.resolution else { return nil }
    switch key {
    case "digest": return Array("\(resolution.descriptor.digest)".utf8)
    case "media_type": return Array(resolution.descriptor.mediaType.rawValue.utf8)
    default:
      // Must equal the value that is returned once the artifact is loaded.
      let isFetched = resolution.local?.wasFetched ?? true
      return isFetched ? Array("\(reference.repository)".utf8) : nil
    }
  }

  private static func value(_ key: String, _ artifact: LoadedArtifact) -> [UInt8] {
    let text =
      switch key {
      case "reference": artifact.label
      case "digest": "\(artifact.root.digest)"
      case "media_type": artifact.root.mediaType.rawValue
      default: artifact.origin
      }
    return Array(text.utf8)
  }
}
