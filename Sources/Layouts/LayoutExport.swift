package import Content
import CLinux
import Glibc
import OCI
package import SystemPackage
import Disk

/// Writes an artifact to a path outside of the root, completely or not at all; the result belongs to the
/// user.
package struct LayoutExport {
  private let contents: ArtifactContents
  private let name: String

  /// Prepares an export.
  ///
  /// - Parameters:
  ///   - contents: The artifact, without a missing blob.
  ///   - name: The full reference.
  package init(_ contents: ArtifactContents, name: String) {
    self.contents = contents
    self.name = name
  }

  /// Writes a layout.
  ///
  /// Blocks the calling thread.
  ///
  /// - Parameters:
  ///   - path: A path that does not exist.
  ///   - format: The format of the layout.
  ///   - progress: Called with the number of bytes of blobs that were written.
  /// - Throws: `ContentError`.
  package func write(to path: FilePath, format: LayoutFormat, progress: (Int64) -> Void) throws(ContentError)
  {
    guard !Disk.exists(path) else {
      throw ContentError(.disk, "\(path)", "exists already", advice: "Remove it, or choose another path")
    }
    let folder = path.removingLastComponent()
    guard folder.isEmpty || Disk.isFolder(folder) else {
      throw ContentError(.notFound, "\(folder)", "the directory does not exist")
    }
    switch format {
    case .archive: try writeArchive(path, progress)
    case .directory: try writeDirectory(path, progress)
    }
  }

  /// Writes an archive to an output that can only be appended to, such as a pipe.
  ///
  /// - Parameters:
  ///   - descriptor: The output.
  ///   - progress: Called with the number of bytes of blobs that were written.
  /// - Throws: `ContentError`.
  package func write(to descriptor: FileDescriptor, progress: (Int64) -> Void) throws(ContentError) {
    try ArchiveWriter(contents, name: name).write(to: descriptor, progress: progress)
  }

  private func writeArchive(_ path: FilePath, _ progress: (Int64) -> Void) throws(ContentError) {
    let folder = path.removingLastComponent()
    var file: TemporaryFile
    do throws(Errno) {
      file = try TemporaryFile(
        in: folder.isEmpty ? "." : folder,
        permissions: [.ownerReadWrite, .groupReadWrite, .otherReadWrite]
      )
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
    try ArchiveWriter(contents, name: name).write(to: file.descriptor, progress: progress)
    do throws(Errno) {
      try file.rename(to: path)
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
  }

  private func writeDirectory(_ path: FilePath, _ progress: (Int64) -> Void) throws(ContentError) {
    // The temporary name shows the purpose, for a user who finds the directory after a kill.
    let temporary = FilePath("\(path).incomplete.\(getpid())")
    var isDone = false
    defer { if !isDone { Self.remove(temporary) } }
    do throws(Errno) {
      try Disk.createFolder(temporary.appending("blobs"))
      for document in contents.documents {
        try write(document.bytes, to: try place(document.descriptor.digest, in: temporary))
      }
      for (blob, file) in contents.blobs {
        let target = try place(blob.digest, in: temporary)
        if let file {
          try copy(file, to: target)
          progress(file.size)
        } else if let data = blob.verifiedData {
          try write(data, to: target)
        }
      }
    } catch {
      throw ContentError(.disk, "\(temporary)", error)
    }
    var entry = contents.top
    entry.annotations = [OCIDirectory.nameAnnotation: name]
    do {
      try write(try JSONDocument.encode(LayoutMarker()), to: temporary.appending("oci-layout"))
      try write(try JSONDocument.encode(Index(manifests: [entry])), to: temporary.appending("index.json"))
      try Disk.rename(temporary, to: path)
      let folder = path.removingLastComponent()
      try Disk.synchronizeFolder(folder.isEmpty ? "." : folder)
      isDone = true
    } catch {
      throw ContentError(.disk, "\(path)", "\(error)")
    }
  }

  private func place(_ digest: Digest, in layout: FilePath) throws(Errno) -> FilePath {
    let path = layout.appending(digest.layoutPath)
    try Disk.createFolder(path.removingLastComponent())
    return path
  }

  private func create(_ path: FilePath) throws(Errno) -> FileDescriptor {
    try Disk.open(
      path,
      .writeOnly,
      options: [.create, .exclusiveCreate, .closeOnExec],
      permissions: [.ownerReadWrite, .groupReadWrite, .otherReadWrite]
    )
  }

  private func write(_ bytes: [UInt8], to path: FilePath) throws(Errno) {
    let output = try create(path)
    defer { Disk.close(output) }
    try Disk.write(output, bytes, at: 0)
    try Disk.synchronize(output)
  }

  // A reflink if the file system supports it, never a hard link, as the copy belongs to the user.
  private func copy(_ file: BlobFile, to path: FilePath) throws(Errno) {
    let output = try create(path)
    defer { Disk.close(output) }
    if file.offset != 0 || ioctl(output.rawValue, clinux_ficlone, file.descriptor.rawValue) != 0 {
      try Disk.copy(file.descriptor, file.offset..<file.offset + file.size, to: output)
    }
    try Disk.synchronize(output)
  }

  private static func remove(_ folder: FilePath) {
    // Files of a failed export that cannot be removed stay; the error of the export is the one to tell.
    for name in (try? Disk.names(in: folder)) ?? [] {
      let path = folder.appending(name)
      if Disk.isFolder(path) { remove(path) } else { try? Disk.remove(path) }
    }
    try? Disk.removeFolder(folder)
  }
}
