import Archive
package import Content
import Hashing
package import OCI
package import SystemPackage
package import Disk

/// A docker-archive (`docker save`, `skopeo copy … docker-archive:`): a tar of layers with a `manifest.json`
/// that refers to files by name rather than by digest.
///
/// Presented as a layout: the manifest of each image is generated (Docker's schema 2, as the config has that
/// format) and is always the same for the same files.
package final class DockerArchive: LocalRepository {
  package let path: FilePath
  package let executor: BlockingExecutor
  private let archive: OCIArchive
  private let entries: [Descriptor]
  private let blobs: [Digest: TarMember]
  private let manifests: [Digest: [UInt8]]

  package var origin: String { path.string }

  private struct Image: Decodable {
    // swift-format-ignore: AlwaysUseLowerCamelCase
    let Config: String
    // swift-format-ignore: AlwaysUseLowerCamelCase
    let RepoTags: [String]?
    // swift-format-ignore: AlwaysUseLowerCamelCase
    let Layers: [String]
  }

  private static let listLimit: Int64 = 16 << 20

  /// Reads the list of images and hashes the files that it names.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameters:
  ///   - archive: A tar with `manifest.json`.
  ///   - executor: Runs blocking disk operations.
  /// - Throws: `ContentError`.
  init(_ archive: OCIArchive, executor: BlockingExecutor) throws(ContentError) {
    path = archive.path
    self.archive = archive
    self.executor = executor
    guard let list = try archive.bytes(of: "manifest.json", limit: Self.listLimit) else {
      throw ContentError(.invalid, "\(archive.path)", "the archive has neither index.json nor manifest.json")
    }
    let images: [Image]
    do {
      images = try JSONDocument.decode([Image].self, from: list)
    } catch {
      throw ContentError(.invalid, "\(archive.path)/manifest.json", error.reason)
    }
    var contents = Contents(archive: archive)
    for image in images { try contents.add(image) }
    entries = contents.entries
    blobs = contents.blobs
    manifests = contents.manifests
  }

  /// What the images of an archive are made of, as it is read.
  private struct Contents {
    let archive: OCIArchive
    var blobs: [Digest: TarMember] = [:]
    var manifests: [Digest: [UInt8]] = [:]
    var entries: [Descriptor] = []
    /// Members that were hashed, by the offset of their data.
    private var known: [Int64: Descriptor] = [:]

    init(archive: OCIArchive) { self.archive = archive }

    /// Adds an image, with a manifest that is generated for it.
    mutating func add(_ image: Image) throws(ContentError) {
      guard !image.Layers.isEmpty else {
        throw ContentError(
          .invalid,
          "\(archive.path)",
          "manifest.json lists an image without layers: \(image.RepoTags?.first ?? image.Config)",
          advice: "Save the image again"
        )
      }
      var manifest = Manifest(
        artifactType: nil,
        config: try blob(image.Config, .dockerImageConfig),
        layers: []
      )
      manifest.mediaType = .dockerManifest
      for layer in image.Layers { manifest.layers.append(try blob(layer, nil)) }
      let config = try archive.bytes(of: image.Config, limit: DockerArchive.listLimit)
      try DockerArchive.check(manifest.layers, config: config, archive.path)
      let bytes: [UInt8]
      do {
        bytes = try JSONDocument.encode(manifest)
      } catch {
        throw ContentError(.invalid, "\(archive.path)", "cannot generate a manifest", underlying: error)
      }
      let digest = HashStream.digest(of: bytes)
      manifests[digest] = bytes
      let entry = Descriptor(mediaType: .dockerManifest, digest: digest, size: Int64(bytes.count))
      let names = image.RepoTags ?? []
      for name in names.isEmpty ? [""] : names {
        var named = entry
        if !name.isEmpty { named.annotations[DockerArchive.nameAnnotation] = name }
        entries.append(named)
      }
    }

    /// The descriptor of a member, whose bytes are hashed once.
    private mutating func blob(_ name: String, _ type: MediaType?) throws(ContentError) -> Descriptor {
      guard let member = archive.member(name) else {
        throw ContentError(.invalid, "\(archive.path)", "manifest.json names '\(name)', which is missing")
      }
      if let known = known[member.dataOffset] { return known }
      let file = try archive.file(member)
      var front = [UInt8](repeating: 0, count: 2)
      // A member that cannot be read fails when it is hashed.
      _ = front.withUnsafeMutableBytes { try? file.read(into: $0, at: 0) }
      let digest: Digest
      do throws(Errno) {
        digest = try file.digest(.sha256)
      } catch {
        throw ContentError(.disk, "\(archive.path)", error)
      }
      let layer =
        ArchiveFormat(first: front) == .gzip
        ? "application/vnd.docker.image.rootfs.diff.tar.gzip" : "application/vnd.docker.image.rootfs.diff.tar"
      let descriptor = Descriptor(
        mediaType: type ?? MediaType(rawValue: layer),
        digest: digest,
        size: member.size
      )
      blobs[digest] = member
      known[member.dataOffset] = descriptor
      return descriptor
    }
  }

  /// Compares layers with the digests in the config, the only digests in such an archive.
  ///
  /// Compressed layers are not checked, as the digests are those of the uncompressed bytes.
  private static func check(
    _ layers: [Descriptor],
    config: [UInt8]?,
    _ path: FilePath
  ) throws(ContentError) {
    // A config without digests vouches for nothing.
    guard let config, let listed = (try? JSONDocument.decode(Config.self, from: config))?.rootfs?.diffs,
      !listed.isEmpty
    else { return }
    guard listed.count == layers.count else {
      throw ContentError(
        .invalid,
        "\(path)",
        "the config lists \(listed.count) layers, manifest.json \(layers.count)"
      )
    }
    for (layer, digest) in zip(layers, listed)
    where !layer.mediaType.rawValue.hasSuffix(".gzip") && digest != "\(layer.digest)" {
      throw ContentError(
        .corrupt,
        "\(path)",
        "a layer has the digest \(layer.digest), the config says \(digest)",
        advice: "The archive is damaged: save the image again"
      )
    }
  }

  private struct Config: Decodable {
    let rootfs: RootFS?

    struct RootFS: Decodable {
      let diffs: [String]?

      private enum CodingKeys: String, CodingKey { case diffs = "diff_ids" }
    }
  }

  package func index() throws(ContentError) -> Index { Index(manifests: entries) }

  package func blob(_ digest: Digest) throws(ContentError) -> BlobFile? {
    if let bytes = manifests[digest] { return try BlobFile.holding(bytes, path: path) }
    return try blobs[digest].map { (member) throws(ContentError) in try archive.file(member) }
  }
}
