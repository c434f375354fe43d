package import Layouts
package import BlobCache
package import Fetching
import LocalRegistry
package import SystemPackage

/// Everything that a mount or a command can be told.
package struct Settings: Sendable {
  package var root: RegistryRoot
  package var additionalStores: [FilePath] = []
  package var fetching = FetchPolicy()
  /// How long answers of registries are remembered, and whether any are asked.
  package var resolution = ResolutionOptions()
  /// Registries that are spoken to in plain HTTP beside those on this machine.
  package var insecureRegistries: Set<String> = []
  /// The only file in which credentials are looked for; nil for those of podman and docker.
  package var authFile: FilePath?
  /// How much of the disk blobs may take.
  package var limits = SpaceLimits()
  /// What new artifacts become once they are whole.
  package var localFormat = LayoutFormat.directory
  /// Artifacts that are filled by reads become archives in the background.
  package var sealsWhole = false

  /// Makes the usual settings for a root.
  ///
  /// - Parameter root: of the local registry.
  package init(root: RegistryRoot) { self.root = root }
}
