import OCI

/// Container images: modelcars of KServe, olot, oci-modelcar and ramalama, and ordinary images.
///
/// The layers are applied in order, as by a container runtime.
struct ImagePackaging: Packaging {
  let title = "Container image (modelcar)"
  let stacksLayers = true

  func recognizes(_ manifest: Manifest) -> Bool { manifest.isImage }

  /// The digest of an uncompressed layer is that of the layer itself.
  func readsConfig(of manifest: Manifest) -> Bool {
    manifest.layers.contains { $0.mediaType.isCompressedImageTar }
  }

  func plan(_ manifest: Manifest, config: [UInt8]) -> [LayerPlan] {
    // A config that cannot be read promises nothing.
    let identifiers = (try? JSONDocument.decode(Config.self, from: config))?.rootfs?.identifiers ?? []
    // Entries that do not belong to a layer each say nothing about any layer.
    let isUsable = identifiers.count == manifest.layers.count
    return manifest.layers.enumerated().compactMap { number, layer in
      guard layer.mediaType != .empty else { return nil }
      let isTar = layer.mediaType.isPlainImageTar || layer.mediaType.isCompressedImageTar
      var plan = LayerPlan(layer, isTar ? .archive : .file)
      plan.diffID = isUsable ? Digest(identifiers[number]) : nil
      return plan
    }
  }

  /// The part of an image's config that concerns layers (image-spec config.md).
  private struct Config: Decodable {
    struct RootFileSystem: Decodable {
      let identifiers: [String]?

      private enum CodingKeys: String, CodingKey {
        case identifiers = "diff_ids"
      }
    }

    let rootfs: RootFileSystem?
  }
}
