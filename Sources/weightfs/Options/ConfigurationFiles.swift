import Configuration
import Content
import Disk
import Glibc
import SystemPackage

/// The configuration files of this machine and user.
enum ConfigurationFiles {
  private static let system = "/etc/weightfs"
  // Bytes. A configuration has some hundred.
  private static let limit = 1 << 20

  /// Returns the paths in the order of their precedence, the lowest first; a file may be absent.
  ///
  /// `WEIGHTFS_CONFIG` names the only file; if it is empty, no file is read.
  static func paths(_ environment: [String: String]) -> [String] {
    if let only = environment["WEIGHTFS_CONFIG"] { return only.isEmpty ? [] : [only] }
    // A directory that cannot be read has no files for this user.
    let names = (try? Disk.names(in: FilePath("\(system)/conf.d"))) ?? []
    let parts = names.filter { $0.hasSuffix(".toml") && !$0.hasPrefix(".") }.sorted()
    let home =
      environment["XDG_CONFIG_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
      ?? environment["HOME"].flatMap { $0.hasPrefix("/") ? "\($0)/.config" : nil }
    return ["\(system)/config.toml"] + parts.map { "\(system)/conf.d/\($0)" }
      + (home.map { ["\($0)/weightfs/config.toml"] } ?? [])
  }

  /// Reads the files that exist.
  ///
  /// - Throws: `ContentError` of code `invalid` for a file that cannot be read or parsed.
  static func read(_ environment: [String: String]) throws(ContentError) -> [ConfigurationFile] {
    var files: [ConfigurationFile] = []
    for path in paths(environment) {
      let isNamed = environment["WEIGHTFS_CONFIG"] != nil
      guard isNamed || access(path, F_OK) == 0 else { continue }
      guard let bytes = try Disk.contents(of: FilePath(path), limit: limit) else {
        throw ContentError(.invalid, path, "the configuration file does not exist")
      }
      do throws(ConfigurationFile.Problem) {
        files.append(try ConfigurationFile(parsing: String(decoding: bytes, as: UTF8.self), path: path))
      } catch {
        throw ContentError(
          .invalid,
          path,
          error.reason,
          advice: "'weightfs config check' checks the files; docs/configuration.md lists the keys"
        )
      }
    }
    return files
  }

  /// Merges the files and the environment.
  ///
  /// - Parameter mountPoint: The absolute path of the mount point; nil for commands that do not mount.
  /// - Throws: `ContentError` of code `invalid`.
  static func merged(
    _ environment: [String: String],
    mountPoint: String? = nil
  ) throws(ContentError) -> Configuration {
    let files = try read(environment)
    do throws(Configuration.Problem) {
      return try Configuration(files: files, environment: environment, mountPoint: mountPoint)
    } catch {
      throw ContentError(.invalid, "the environment", error.reason)
    }
  }
}
