import Content
import OCI

/// Whether and when a loaded artifact is recorded in the local registry.
package enum ArtifactRecording: Sendable {
  /// Before it is returned: for commands, whose next step may need the layout.
  case before
  /// Behind the answer, so that a look-up does not wait for the disk.
  case behind
  case never
}

/// An artifact that is to be recorded.
struct ArtifactRecord: Sendable {
  let reference: Reference
  let resolution: ReferenceResolver.Resolution
  let documents: [ManifestDocument]
  let manifest: Manifest
  /// The repository that the config can be fetched from.
  let source: (any Repository)?
  /// Whether a final artifact is replaced, as by `pull`.
  let replacesFinal: Bool
}
