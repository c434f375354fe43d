import Glibc

/// Conversion of paths to absolute ones.
enum AbsolutePath {
  /// Returns an absolute path without accessing the path itself, as a dead mount would not answer.
  static func of(_ path: String) -> String {
    var text = path
    if !path.hasPrefix("/") {
      guard let folder = getcwd(nil, 0) else { return path }
      defer { free(folder) }
      text = String(cString: folder) + "/" + path
    }
    var parts: [Substring] = []
    for part in text.split(separator: "/") where part != "." {
      if part == ".." { _ = parts.popLast() } else { parts.append(part) }
    }
    return "/" + parts.joined(separator: "/")
  }
}
