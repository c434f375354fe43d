import OCI

/// Container images: modelcars of KServe, olot, oci-modelcar and ramalama, and ordinary images.
///
/// The layers are applied in order, as by a container runtime.
struct ImagePackaging: Packaging {
  let title = "Container image (modelcar)"
  let stacksLayers = true

  func recognizes(_ manifest: Manifest) -> Bool { manifest.isImage }

  func plan(_ manifest: Manifest, config: [UInt8]) -> [LayerPlan] {
    eachLayer(of: manifest) { layer in
      let isTar = layer.mediaType.isPlainImageTar || layer.mediaType.isCompressedImageTar
      return isTar ? LayerPlan(layer, .archive) : LayerPlan(layer, .file)
    }
  }
}
