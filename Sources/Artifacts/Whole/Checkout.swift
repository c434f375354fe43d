import ArtifactTree
package import Content
import Disk
import Fetching
import Glibc
import LocalRegistry
import OCI
package import SystemPackage

/// Writes the files of an artifact as plain files, for places without FUSE.
package struct Checkout: Sendable {
  private let artifact: LoadedArtifact
  private let assembly: Assembly
  /// Whether files may be hard links of verified blobs.
  private let mayLink: Bool

  /// Prepares to write the files of an artifact.
  ///
  /// - Parameters:
  ///   - artifact: The artifact.
  ///   - assembly: The components that fetch.
  ///   - mayLink: Whether files may be hard links of verified blobs, where reflinks are not supported.
  package init(_ artifact: LoadedArtifact, _ assembly: Assembly, mayLink: Bool) {
    self.artifact = artifact
    self.assembly = assembly
    self.mayLink = mayLink
  }

  /// Writes all files below a directory, which appears when it is complete.
  ///
  /// - Parameters:
  ///   - folder: The directory, which must not exist or be empty.
  ///   - show: Starts the progress display.
  /// - Returns: The number of files and their bytes.
  /// - Throws: `ContentError`.
  package func write(
    to folder: FilePath,
    show: ShowWork
  ) async throws(ContentError) -> (files: Int, bytes: Int64) {
    try checkTarget(folder)
    let blobs = try await open(show)
    let tree = artifact.tree
    let count = try await assembly.local.executor.run { () throws(ContentError) in
      // A name that no other program has: what is removed after a failure was made here.
      let partial = FilePath("\(folder).\(UInt64.random(in: 0 ... .max)).partial")
      guard mkdir(partial.string, 0o700) == 0 else {
        throw ContentError(.disk, "\(partial)", Errno(rawValue: errno))
      }
      do throws(Errno) {
        let written = try self.write(tree, blobs, to: partial)
        guard chmod(partial.string, 0o755) == 0 else { throw Errno(rawValue: errno) }
        // An empty directory is replaced.
        _ = rmdir(folder.string)
        guard rename(partial.string, folder.string) == 0 else { throw Errno(rawValue: errno) }
        return written
      } catch {
        Self.remove(partial)
        throw ContentError(.disk, "\(folder)", error)
      }
    }
    withExtendedLifetime(blobs) {}
    return count
  }

  private func checkTarget(_ folder: FilePath) throws(ContentError) {
    var status = stat()
    guard lstat(folder.string, &status) == 0 else { return }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw ContentError(.unsupported, "\(folder)", "is not a directory")
    }
    // A directory that cannot be read is refused by the removal.
    guard (try? Disk.names(in: folder))?.isEmpty ?? true else {
      throw ContentError(
        .unsupported,
        "\(folder)",
        "the directory is not empty",
        advice: "Remove it, or name another one"
      )
    }
  }

  /// Opens, fetches and verifies the blobs of all files.
  private func open(_ show: ShowWork) async throws(ContentError) -> [Digest: BlobFile] {
    var open: [Digest: LazyBlob] = [:]
    for (_, content) in artifact.tree.files where open[content.blob.digest] == nil {
      open[content.blob.digest] = try await assembly.open(content.blob, of: artifact)
    }
    let blobs = Array(open.values)
    let total = blobs.reduce(0) { $0 + $1.descriptor.size }
    let cached = blobs.reduce(0) { $0 + $1.status.cachedBytes }
    try await assembly.complete(blobs, artifact.label, total: total, missing: total - cached, show: show)
    var files: [Digest: BlobFile] = [:]
    for (digest, blob) in open {
      guard let file = blob.completeFile else {
        throw ContentError(.disk, "\(digest)", "the verified blob was removed")
      }
      files[digest] = file
    }
    return files
  }

  // MARK: Writing

  private func write(
    _ tree: FileTree,
    _ blobs: [Digest: BlobFile],
    to folder: FilePath
  ) throws(Errno) -> (files: Int, bytes: Int64) {
    var written = (files: 0, bytes: Int64(0))
    var open = [(node: 0, path: folder)]
    while let (node, path) = open.popLast() {
      guard case .directory(let children) = tree.nodes[node].kind else { continue }
      for child in children {
        guard let name = tree.name(of: child) else { continue }
        // Names are bytes; a name that is not UTF-8 is written as it is.
        let place = FilePath(platformBytes: path, name)
        switch tree.nodes[child].kind {
        case .directory:
          try Disk.createFolder(place)
          open.append((child, place))
        case .symbolicLink(let target):
          let text = target.map { CChar(bitPattern: $0) } + [0]
          let result = text.withUnsafeBufferPointer { from in
            place.withPlatformString { symlink(from.baseAddress ?? $0, $0) }
          }
          guard result == 0 else { throw Errno(rawValue: errno) }
        case .file(let content):
          guard let blob = blobs[content.blob.digest] else { throw Errno.noSuchFileOrDirectory }
          try write(content, from: blob, to: place, tree.nodes[child])
          written.files += 1
          written.bytes += content.size
        }
      }
      try Disk.synchronizeFolder(path)
    }
    return written
  }

  private func write(
    _ content: FileContent,
    from blob: BlobFile,
    to path: FilePath,
    _ node: FileTree.Node
  ) throws(Errno) {
    var output = try Self.create(path)
    defer { Disk.close(output) }
    let start = blob.offset + content.offset
    let isShared = content.size == 0 || Disk.clone(blob.descriptor, start..<start + content.size, to: output)
    if !isShared {
      // A link has the mode and the time of the blob, which suit a file without execute bits.
      if mayLink, content.isWholeBlob, blob.offset == 0, !blob.isInMemory, node.mode & 0o111 == 0 {
        if try Self.link(blob, to: path) { return }
        Disk.close(output)
        output = try Self.create(path)
      }
      try Disk.copy(blob.descriptor, start..<start + content.size, to: output)
    }
    var times = [timespec(), timespec()]
    times[0].tv_sec = Int(node.modificationTime)
    times[1].tv_sec = Int(node.modificationTime)
    // A file system without times keeps its own.
    _ = futimens(output.rawValue, times)
    guard fchmod(output.rawValue, node.mode) == 0 else { throw Errno(rawValue: errno) }
    // A directory that has its final name is complete, also after a power failure.
    try Disk.synchronize(output)
  }

  private static func create(_ path: FilePath) throws(Errno) -> FileDescriptor {
    try Disk.open(
      path,
      .readWrite,
      options: [.create, .exclusiveCreate, .closeOnExec, .noFollow],
      permissions: [.ownerReadWrite]
    )
  }

  /// Replaces an empty file by a link of a blob; returns false, with the file removed, if that is not possible.
  private static func link(_ blob: BlobFile, to path: FilePath) throws(Errno) -> Bool {
    try Disk.remove(path)
    do throws(Errno) {
      try Disk.link(blob.descriptor, to: path)
      return true
    } catch .improperLink, .notPermitted, .tooManyLinks, .noSuchFileOrDirectory {
      // Another file system, one without links, or a blob that has lost its last name.
      return false
    }
  }

  /// Removes an incomplete directory.
  private static func remove(_ folder: FilePath) {
    // What cannot be removed stays under its temporary name.
    for name in (try? Disk.names(in: folder)) ?? [] {
      let path = folder.appending(name)
      if Disk.isRealFolder(path) { remove(path) } else { try? Disk.remove(path) }
    }
    _ = rmdir(folder.string)
  }
}

extension FilePath {
  /// The path of an entry, whose name need not be UTF-8.
  fileprivate init(platformBytes folder: FilePath, _ name: EntryName) {
    let prefix = folder.withPlatformString { Array(UnsafeBufferPointer(start: $0, count: strlen($0))) }
    let bytes =
      prefix + [CChar(bitPattern: UInt8(ascii: "/"))] + name.bytes.map { CChar(bitPattern: $0) } + [0]
    self = bytes.withUnsafeBufferPointer { $0.baseAddress.map { FilePath(platformString: $0) } ?? folder }
  }
}
