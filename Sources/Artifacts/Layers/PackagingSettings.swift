package import OCI

/// The settings of opening layers.
package struct PackagingSettings: Sendable {
  /// The limits on decompressed layers.
  package var unpacking = UnpackLimits()
  /// The platform whose manifest is selected from an index.
  package var platform = Platform.current
  /// Whether artifacts with missing shards of split models are refused.
  package var requiresComplete = false
  /// Whether the tree of a modelcar is the complete image, not only `/models`.
  package var showsCompleteImages = false

  /// Creates the default settings.
  package init() {}
}
