package import Artifacts
package import FileSystem

extension Assembly {
  /// Creates a file system from these components.
  ///
  /// - Parameters:
  ///   - root: The root of the mount.
  ///   - options: The options of the tree; the settings determine how long answers are cached.
  package func makeFileSystem(root: FileSystem.Root, options: FileSystemOptions) -> FileSystem {
    var options = options
    options.resolution = settings.resolution
    return FileSystem(
      root: root,
      local: local,
      remote: remote,
      store: store,
      resolver: resolver,
      loader: loader,
      options: options,
      metrics: metrics,
      log: log
    )
  }
}
