import Content
import Foundation
package import OCI

/// Creates OCI layouts like tools of other projects.
package enum LayoutMaker {
  /// Writes blobs, a manifest and an index.
  ///
  /// - Returns: The descriptor of the manifest.
  @discardableResult
  package static func write(
    _ folder: TemporaryFolder,
    _ name: String,
    layers: [(bytes: [UInt8], type: String, annotations: [String: String])],
    config: (bytes: [UInt8], type: MediaType) = (Array("{}".utf8), .empty),
    artifactType: String? = "application/vnd.test.model",
    reference: String? = nil
  ) throws -> Descriptor {
    func store(_ bytes: [UInt8], _ type: MediaType, _ annotations: [String: String]) throws -> Descriptor {
      let digest = Verification.digest(of: bytes)
      try folder.write(bytes, to: "\(name)/blobs/sha256/\(digest.hex)")
      return Descriptor(mediaType: type, digest: digest, size: Int64(bytes.count), annotations: annotations)
    }
    let descriptors = try layers.map { try store($0.bytes, MediaType(rawValue: $0.type), $0.annotations) }
    let manifest = Manifest(
      artifactType: artifactType.map { MediaType(rawValue: $0) },
      config: try store(config.bytes, config.type, [:]),
      layers: descriptors
    )
    var entry = try store(try JSONDocument.encode(manifest), .imageManifest, [:])
    if let reference { entry.annotations["org.opencontainers.image.ref.name"] = reference }
    try folder.write(try JSONDocument.encode(Index(manifests: [entry])), to: "\(name)/index.json")
    try folder.write(Array("{\"imageLayoutVersion\":\"1.0.0\"}".utf8), to: "\(name)/oci-layout")
    return entry
  }

  /// Returns a layer that is a file with a title.
  package static func file(
    _ title: String,
    _ bytes: [UInt8]
  ) -> (bytes: [UInt8], type: String, annotations: [String: String]) {
    (bytes, "application/octet-stream", ["org.opencontainers.image.title": title])
  }

  /// Returns a layer of an image.
  package static func tar(_ bytes: [UInt8]) -> (bytes: [UInt8], type: String, annotations: [String: String]) {
    (bytes, "application/vnd.oci.image.layer.v1.tar", [:])
  }

  /// Writes an image of one layer, whose config lists the layer.
  ///
  /// - Returns: The descriptor of the manifest.
  @discardableResult
  package static func writeImage(
    _ folder: TemporaryFolder,
    _ name: String,
    layer: [UInt8],
    reference: String
  ) throws -> Descriptor {
    let config =
      #"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["\#(Verification.digest(of: layer))"]}}"#
    return try write(
      folder,
      name,
      layers: [tar(layer)],
      config: (Array(config.utf8), .imageConfig),
      artifactType: nil,
      reference: reference
    )
  }

  /// The config of an image.
  package static let imageConfig: (bytes: [UInt8], type: MediaType) = (
    Array(#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#.utf8),
    .imageConfig
  )

  /// Pushes a layout with skopeo, preserving digests.
  package static func push(_ layout: String, to reference: String) async throws {
    let result = try await Command.shell(
      "skopeo copy -q --preserve-digests --dest-tls-verify=false oci:\(layout) docker://\(reference)"
    )
    guard result.status == 0 else { throw PushError(text: result.error) }
  }

  package struct PushError: Error {
    package let text: String
  }
}
