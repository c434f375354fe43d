package import Artifacts
package import FileSystem

extension Assembly {
  /// Makes a file system over these parts.
  ///
  /// - Parameters:
  ///   - root: what it shows.
  ///   - options: how it looks; how long answers are remembered comes from the settings.
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
