/// The content of `oci-layout` (image-spec image-layout.md).
struct LayoutMarker: Encodable {
  let imageLayoutVersion = "1.0.0"
}
