/// The content of `oci-layout` (image-spec image-layout.md).
package struct LayoutMarker: Encodable {
  package init() {}

  let imageLayoutVersion = "1.0.0"
}
