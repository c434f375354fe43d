import Archive
package import Content
import Glibc
package import OCI
package import SystemPackage
package import Disk

/// An oci-archive: a tar of an OCI layout, read in place.
///
/// Its blobs are ranges of the file.
package final class OCIArchive: LocalRepository {
  package let path: FilePath
  package let executor: BlockingExecutor
  /// The identity of the file when it was opened.
  package let identity: FileIdentity
  private let file: FileDescriptor
  private let members: [String: TarMember]
  /// Symbolic links, which `docker save` writes for repeated layers.
  private let links: [String: String]

  package var origin: String { path.string }
  package var format: LayoutFormat? { .archive }

  /// Opens an archive and reads the headers of its members.
  ///
  /// - Parameters:
  ///   - path: The path of the file.
  ///   - executor: Runs blocking disk operations.
  ///   - needsIndex: Whether an archive without `index.json` is refused.
  /// - Throws: `ContentError`; of code `corrupt` if the archive is damaged.
  package init(path: FilePath, executor: BlockingExecutor, needsIndex: Bool = true) throws(ContentError) {
    self.path = path
    self.executor = executor
    let file: FileDescriptor
    do throws(Errno) {
      file = try Disk.open(path, .readOnly, options: [.closeOnExec, .nonBlocking])
    } catch .noSuchFileOrDirectory {
      throw ContentError(.notFound, "\(path)", "the file does not exist")
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
    self.file = file
    do {
      identity = try FileIdentity(of: file)
      guard identity.isRegular else { throw ContentError(.invalid, "\(path)", "is not a regular file") }
      (members, links) = try Self.contents(FileSource(file: file, size: identity.size))
    } catch {
      // The first error is the one to tell.
      Disk.close(file)
      throw Self.failure(error, path)
    }
    guard !needsIndex || members["index.json"] != nil else {
      Disk.close(file)
      throw ContentError(
        .invalid,
        "\(path)",
        "the archive has no index.json: it is not an oci-archive",
        advice: "Convert it with 'skopeo copy … oci-archive:FILE'"
      )
    }
  }

  /// Reads the headers of the members.
  private static func contents(
    _ source: FileSource
  ) throws -> (members: [String: TarMember], links: [String: String]) {
    var members: [String: TarMember] = [:]
    var links: [String: String] = [:]
    for member in try TarIndex(reading: source).members where !member.isSparse {
      var name = String(decoding: member.name, as: UTF8.self)[...]
      while name.hasPrefix("./") { name = name.dropFirst(2) }
      switch member.kind {
      case .file: members[String(name)] = member
      case .symbolicLink(let target): links[String(name)] = String(decoding: target, as: UTF8.self)
      case .directory, .hardLink, .other: break
      }
    }
    return (members, links)
  }

  private static func failure(_ error: any Error, _ path: FilePath) -> ContentError {
    switch error {
    case let error as ContentError: return error
    case let error as ArchiveError:
      return ContentError(
        .corrupt,
        "\(path)",
        "\(error)",
        advice: isCompressed(path)
          ? "The file is compressed, and weightfs reads archives in place: unpack it with gunzip or zstd"
          : "An oci-archive is an uncompressed tar of an OCI layout: create it again with 'skopeo copy'; for the local "
            + "registry: 'weightfs rm', then 'weightfs pull'",
        underlying: error
      )
    default: return ContentError(.disk, "\(path)", "\(error)", underlying: error)
    }
  }

  private static func isCompressed(_ path: FilePath) -> Bool {
    // Only the words of the advice depend on it.
    guard let file = try? Disk.open(path, .readOnly, options: [.closeOnExec, .nonBlocking]) else {
      return false
    }
    defer { Disk.close(file) }
    var front = [UInt8](repeating: 0, count: 4)
    _ = front.withUnsafeMutableBytes { try? Disk.read(file, into: $0, at: 0) }
    return [.gzip, .zstd].contains(ArchiveFormat(first: front))
  }

  deinit { Disk.close(file) }

  package func index() throws(ContentError) -> Index {
    guard let bytes = try bytes(of: "index.json", limit: Int64(Index.maximumSize)) else {
      throw ContentError(.invalid, "\(path)/index.json", "is missing")
    }
    return try Self.parseIndex(bytes, origin)
  }

  /// Returns the member with a name, following symbolic links.
  func member(_ name: String) -> TarMember? {
    if let member = members[name] { return member }
    guard let target = links[name] else { return nil }
    var parts = name.split(separator: "/").dropLast()
    for part in target.split(separator: "/") where part != "." {
      if part == ".." { _ = parts.popLast() } else { parts.append(part) }
    }
    return members[parts.joined(separator: "/")]
  }

  /// Reads a small member, or returns nil if it does not exist.
  func bytes(of name: String, limit: Int64) throws(ContentError) -> [UInt8]? {
    guard let member = members[name] else { return nil }
    guard member.size <= limit else {
      throw ContentError(.invalid, "\(path)/\(name)", "has \(member.size) bytes, the limit is \(limit)")
    }
    var bytes = [UInt8](repeating: 0, count: Int(member.size))
    var failure: Errno?
    bytes.withUnsafeMutableBytes { buffer in
      do throws(Errno) {
        if try Disk.read(file, into: buffer, at: member.dataOffset) < buffer.count { failure = .ioError }
      } catch {
        failure = error
      }
    }
    if let failure { throw ContentError(.disk, "\(path)", failure) }
    return bytes
  }

  package func blob(_ digest: Digest) throws(ContentError) -> BlobFile? {
    guard let member = members[digest.layoutPath] else { return nil }
    return try file(member)
  }

  /// Returns a member as a blob.
  func file(_ member: TarMember) throws(ContentError) -> BlobFile {
    do {
      let own = try file.duplicate()
      return BlobFile(
        descriptor: own,
        offset: member.dataOffset,
        size: member.size,
        path: path,
        identity: try FileIdentity(of: own)
      )
    } catch {
      throw ContentError(.disk, "\(path)", "\(error)")
    }
  }
}

/// A file as a source for libarchive.
private final class FileSource: ByteSource {
  let file: FileDescriptor
  let size: Int64

  init(file: FileDescriptor, size: Int64) {
    self.file = file
    self.size = size
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(ArchiveError) -> Int {
    do throws(Errno) {
      return try Disk.read(file, into: buffer, at: offset)
    } catch {
      throw ArchiveError(reason: "\(error)")
    }
  }
}
