import Disk
import SystemPackage

/// The names of the files of a partial blob: the blob's own in the folder of partial blobs, and that of the map beside it.
package enum PartialNames {
  private static let mapSuffix = ".map"
  // Of earlier versions: a map under this name is used, and renamed when nobody else has it open.
  private static let oldMapSuffix = ".chunks"

  /// Where the map of a partial blob is, under its old name where it has that; where none is, its place.
  static func map(of path: FilePath) -> FilePath {
    let old = oldMap(of: path)
    let place = newMap(of: path)
    return !Disk.exists(place) && Disk.exists(old) ? old : place
  }

  static func newMap(of path: FilePath) -> FilePath { FilePath(path.string + mapSuffix) }
  static func oldMap(of path: FilePath) -> FilePath { FilePath(path.string + oldMapSuffix) }

  /// Removes the map of a partial blob under either name.
  static func removeMap(of path: FilePath) throws(Errno) {
    try Disk.remove(newMap(of: path))
    try Disk.remove(oldMap(of: path))
  }

  /// The name of the partial blob whose map a file is.
  ///
  /// - Parameter name: of a file in the folder of partial blobs.
  /// - Returns: nil where it is no map by its name.
  package static func blob(ofMap name: String) -> String? {
    for suffix in [mapSuffix, oldMapSuffix] where name.hasSuffix(suffix) {
      return String(name.dropLast(suffix.count))
    }
    return nil
  }
}
