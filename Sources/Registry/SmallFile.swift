import Glibc

/// Reads configuration files of a user.
enum SmallFile {
  /// The reason why an existing file cannot be read.
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  /// Reads a file, or returns nil if it does not exist.
  ///
  /// - Parameters:
  ///   - path: The path of a regular file.
  ///   - limit: The maximum size in bytes.
  /// - Throws: `Failure`.
  static func read(_ path: String, limit: Int) throws(Failure) -> [UInt8]? {
    // Opening a pipe without O_NONBLOCK would wait for a writer.
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else {
      if errno == ENOENT || errno == ENOTDIR { return nil }
      throw Failure(description: String(cString: strerror(errno)))
    }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw Failure(description: "it is no regular file")
    }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = Glibc.read(file, &piece, piece.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw Failure(description: String(cString: strerror(errno))) }
      if count == 0 { return bytes }
      guard bytes.count + count <= limit else {
        throw Failure(description: "larger than \(limit) bytes")
      }
      bytes += piece[..<count]
    }
  }
}
