/// The format of an artifact's layout.
package enum LayoutFormat: String, Sendable, CaseIterable {
  case directory = "oci-dir"
  case archive = "oci-archive"
}
