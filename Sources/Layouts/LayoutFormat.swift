/// How an artifact of the tree is kept.
package enum LayoutFormat: String, Sendable, CaseIterable {
  case directory = "oci-dir"
  case archive = "oci-archive"
}
