import Layouts
import Content
import Glibc
import OCI
import Locking
import SystemPackage
import Disk

/// A cache of the Hugging Face hub: `models--<org>--<repository>/{refs,blobs,snapshots}`.
///
/// A revision is shown as `huggingface.co/<org>/<repository>:<ref>` in lower case; the hub does not
/// distinguish names by case either. The manifest is generated from the files of the snapshot. Large files
/// are named by their SHA-256 and not read for the manifest.
final class HuggingFaceCache: ReadOnlyStore {
  static let prefix = "models--"
  private static let registry = "huggingface.co"
  // Files that are not named by their SHA-256 are hashed: configs and tokenizers, but not weights.
  private static let largestHashed: Int64 = 64 << 20
  private static let maximumFiles = 10_000

  private let path: FilePath
  private let executor: BlockingExecutor
  /// Digests of files that are not named by their digest.
  private let hashed = Mutex<[FileIdentity: Digest]>([:])

  init(path: FilePath, executor: BlockingExecutor) {
    self.path = path
    self.executor = executor
  }

  func find(
    _ reference: Reference
  ) throws(ContentError) -> (descriptor: Descriptor, layout: any LocalRepository)? {
    guard reference.repository.registry == Self.registry,
      let folder = try folder(of: reference.repository.path)
    else { return nil }
    switch reference.target {
    case .tag(let tag):
      guard let commit = try commit(tag, folder) else { return nil }
      return try snapshot(commit, folder)
    case .digest(let digest):
      for commit in try Disk.namesInLayout(folder.appending("snapshots")) {
        if let found = try snapshot(commit, folder), found.descriptor.digest == digest { return found }
      }
      return nil
    }
  }

  func registries() throws(ContentError) -> [String] { try models().isEmpty ? [] : [Self.registry] }

  func children(registry: String, components: [String]) throws(ContentError) -> LocalChildren {
    guard registry == Self.registry else { return LocalChildren() }
    let name = components.joined(separator: "/")
    var found = LocalChildren()
    for repository in try models().keys where RepositoryName(registry: registry, path: repository) != nil {
      let parts = repository.split(separator: "/").map(String.init)
      guard parts.count > components.count, parts.starts(with: components) else { continue }
      found.components.insert(parts[components.count])
    }
    guard let folder = try folder(of: name) else { return found }
    for ref in try Disk.namesInLayout(folder.appending("refs")) where Grammar.isTag(ref) {
      found.targets.insert(.tag(ref))
    }
    return found
  }

  func blob(_ digest: Digest) throws(ContentError) -> BlobFile? {
    guard digest.algorithm == .sha256 else { return nil }
    for folder in try models().values {
      if let file = try BlobFile.inLayout(folder.appending("blobs").appending(digest.hex)) { return file }
    }
    return nil
  }

  /// Returns the repositories by their name in lower case.
  private func models() throws(ContentError) -> [String: FilePath] {
    var found: [String: FilePath] = [:]
    for name in try Disk.namesInLayout(path) where name.hasPrefix(Self.prefix) {
      let id = name.dropFirst(Self.prefix.count).split(separator: "-", omittingEmptySubsequences: false)
      // "--" stands for the slash; a name may contain single dashes.
      let repository = id.joined(separator: "-").replacingFirst("--", with: "/").lowercased()
      if found[repository] == nil { found[repository] = path.appending(name) }
    }
    return found
  }

  private func folder(of repository: String) throws(ContentError) -> FilePath? { try models()[repository] }

  private func commit(_ ref: String, _ folder: FilePath) throws(ContentError) -> String? {
    if let bytes = try Disk.contents(of: folder.appending("refs").appending(ref), limit: 4096) {
      let commit = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace).first
      return commit.map(String.init).flatMap { Self.isCommit($0) ? $0 : nil }
    }
    return Self.isCommit(ref) && Disk.isFolder(folder.appending("snapshots").appending(ref)) ? ref : nil
  }

  private static func isCommit(_ text: String) -> Bool {
    text.utf8.count >= 7 && text.allSatisfy { $0.isASCII && $0.isHexDigit }
  }

  private func snapshot(
    _ commit: String,
    _ folder: FilePath
  ) throws(ContentError) -> (descriptor: Descriptor, layout: any LocalRepository)? {
    guard Self.isCommit(commit) else { return nil }
    let root = folder.appending("snapshots").appending(commit)
    let (layers, files) = try content(of: root, folder)
    guard !layers.isEmpty else { return nil }
    let empty = Array("{}".utf8)
    var config = Descriptor(mediaType: .empty, digest: Verification.digest(of: empty), size: 2)
    config.data = empty
    let manifest = Manifest(
      artifactType: MediaType(rawValue: "application/vnd.cncf.model.manifest.v1+json"),
      config: config,
      layers: layers,
      annotations: ["org.opencontainers.image.revision": commit]
    )
    let bytes: [UInt8]
    do {
      bytes = try JSONDocument.encode(manifest)
    } catch {
      throw ContentError(.invalid, "\(root)", "cannot generate a manifest")
    }
    let descriptor = Descriptor(
      mediaType: .imageManifest,
      digest: Verification.digest(of: bytes),
      size: Int64(bytes.count)
    )
    let layout = HuggingFaceSnapshot(
      path: root,
      descriptor: descriptor,
      documents: [descriptor.digest: bytes, config.digest: empty],
      files: files,
      executor: executor
    )
    return (descriptor, layout)
  }

  /// Returns the files of a snapshot as layers with their path, and the location of each blob.
  private func content(
    of root: FilePath,
    _ folder: FilePath
  ) throws(ContentError) -> (layers: [Descriptor], files: [Digest: FilePath]) {
    var layers: [Descriptor] = []
    var files: [Digest: FilePath] = [:]
    var open = [""]
    while let relative = open.popLast() {
      let place = relative.isEmpty ? root : root.appending(relative)
      for name in try Disk.namesInLayout(place) {
        let path = relative.isEmpty ? name : "\(relative)/\(name)"
        let file = place.appending(name)
        if Disk.isRealFolder(file) {
          open.append(path)
          continue
        }
        guard layers.count < Self.maximumFiles, open.count < Self.maximumFiles else {
          throw ContentError(.unsupported, "\(root)", "has more than \(Self.maximumFiles) files")
        }
        if let (blob, digest, size) = try content(file, folder) {
          let annotations = ["org.cncf.model.filepath": path, "org.opencontainers.image.title": path]
          let type = MediaType(rawValue: "application/vnd.cncf.model.weight.v1.raw")
          layers.append(Descriptor(mediaType: type, digest: digest, size: size, annotations: annotations))
          files[digest] = blob
        }
      }
    }
    layers.sort {
      $0.annotations["org.cncf.model.filepath"] ?? "" < $1.annotations["org.cncf.model.filepath"] ?? ""
    }
    return (layers, files)
  }

  /// Returns the file that a name of a snapshot refers to, within the repository's blobs.
  private func content(
    _ file: FilePath,
    _ folder: FilePath
  ) throws(ContentError) -> (path: FilePath, digest: Digest, size: Int64)? {
    var path = file
    if let target = Disk.linkTarget(file) {
      guard let name = FilePath(target).lastComponent?.string else { return nil }
      path = folder.appending("blobs").appending(name)
      // A file that was removed meanwhile has no digest.
      if let digest = Digest(algorithm: .sha256, hex: name[...]), let identity = try? FileIdentity(at: path) {
        return identity.isRegular ? (path, digest, identity.size) : nil
      }
    }
    guard let blob = try BlobFile.inLayout(path) else {
      throw ContentError(.notFound, "\(file)", "the file is missing from the cache: download it again")
    }
    guard blob.size <= Self.largestHashed else {
      throw ContentError(
        .unsupported,
        "\(file)",
        "the file is not named by its SHA-256, and with \(blob.size) bytes too large to hash"
      )
    }
    if let digest = hashed.withLock({ $0[blob.identity] }) { return (path, digest, blob.size) }
    do throws(Errno) {
      let digest = try blob.digest(.sha256)
      hashed.withLock { $0[blob.identity] = digest }
      return (path, digest, blob.size)
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
  }
}

/// A revision as a layout.
private struct HuggingFaceSnapshot: LocalRepository {
  let path: FilePath
  let descriptor: Descriptor
  let documents: [Digest: [UInt8]]
  let files: [Digest: FilePath]
  let executor: BlockingExecutor

  var origin: String { path.string }

  func index() throws(ContentError) -> Index { Index(manifests: [descriptor]) }

  func blob(_ digest: Digest) throws(ContentError) -> BlobFile? {
    if let bytes = documents[digest] { return try BlobFile.holding(bytes, path: path) }
    guard let file = files[digest] else { return nil }
    return try BlobFile.inLayout(file)
  }
}

extension String {
  fileprivate func replacingFirst(_ mark: String, with other: String) -> String {
    guard let range = firstRange(of: mark) else { return self }
    return self[..<range.lowerBound] + other + self[range.upperBound...]
  }
}
