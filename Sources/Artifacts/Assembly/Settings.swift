package import Layouts
package import BlobCache
package import Fetching
import LocalRegistry
package import SystemPackage

/// The settings of a mount or a command.
package struct Settings: Sendable {
  package var root: RegistryRoot
  package var additionalStores: [FilePath] = []
  package var fetching = FetchPolicy()
  /// How long answers of registries are cached, and whether registries are asked at all.
  package var resolution = ResolutionOptions()
  /// Registries accessed by plain HTTP, in addition to those on this machine.
  package var insecureRegistries: Set<String> = []
  /// The only credential file to read; nil for those of podman and docker.
  package var authFile: FilePath?
  /// How layers are opened.
  package var packaging = PackagingSettings()
  /// The limits on the disk space of blobs.
  package var limits = SpaceLimits()
  /// The format of new artifacts.
  package var localFormat = LayoutFormat.directory
  /// Whether artifacts that reads made complete are converted into archives in the background.
  package var sealsWhole = false

  /// Creates the default settings for a root.
  ///
  /// - Parameter root: The local registry.
  package init(root: RegistryRoot) { self.root = root }
}
