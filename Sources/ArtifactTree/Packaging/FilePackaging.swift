import OCI

/// Files with titles, as ORAS and `podman artifact` write them, and every artifact that no other packaging
/// recognizes.
///
/// ORAS gives files the media type of a tar, and marks the directories that it packs.
struct FilePackaging: Packaging {
  let title = "Files with titles (ORAS, podman)"

  func recognizes(_ manifest: Manifest) -> Bool { true }

  func plan(_ manifest: Manifest, config: [UInt8]) -> [LayerPlan] {
    eachLayer(of: manifest) { LayerPlan(byMediaTypeOf: $0) }
  }
}
