import Disk
import SystemPackage

/// The names of the two files of a partial blob: the data file in the directory of partial blobs, and the map
/// beside it.
package enum PartialNames {
  private static let mapSuffix = ".map"
  // The suffix of earlier versions; such a map is used, and renamed when no other process has it open.
  private static let oldMapSuffix = ".chunks"

  /// Returns the path of the map: the old name if only that exists, else the current name.
  static func map(of path: FilePath) -> FilePath {
    let old = oldMap(of: path)
    let place = newMap(of: path)
    return !Disk.exists(place) && Disk.exists(old) ? old : place
  }

  static func newMap(of path: FilePath) -> FilePath { FilePath(path.string + mapSuffix) }
  static func oldMap(of path: FilePath) -> FilePath { FilePath(path.string + oldMapSuffix) }

  /// Removes the map under either name.
  static func removeMap(of path: FilePath) throws(Errno) {
    try Disk.remove(newMap(of: path))
    try Disk.remove(oldMap(of: path))
  }

  /// Returns the name of the partial blob that a map file belongs to, or nil if the file is not a map.
  ///
  /// - Parameter name: The name of a file in the directory of partial blobs.
  package static func blob(ofMap name: String) -> String? {
    for suffix in [mapSuffix, oldMapSuffix] where name.hasSuffix(suffix) {
      return String(name.dropLast(suffix.count))
    }
    return nil
  }
}
