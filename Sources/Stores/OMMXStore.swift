import Layouts
import Content
import Glibc
import OCI
import SQLite
import Locking
import SystemPackage
import Disk

/// The local registry of ommx 3: names in `index.sqlite3` (table `refs`), blobs in `blobs/<algorithm>/<hex>`.
///
/// The database is copied with its log before it is read, as SQLite would lock it and create files beside it.
final class OMMXStore: ReadOnlyStore {
  private static let databaseLimit = 256 << 20

  private let path: FilePath
  private let executor: BlockingExecutor
  private let cache = Mutex<Cached?>(nil)

  private struct Cached: Sendable {
    let identities: [FileIdentity?]
    let names: NameTable
  }

  init(path: FilePath, executor: BlockingExecutor) {
    self.path = path
    self.executor = executor
  }

  func find(
    _ reference: Reference
  ) throws(ContentError) -> (descriptor: Descriptor, layout: any LocalRepository)? {
    guard var descriptor = try names().find(reference) else { return nil }
    let layout = OMMXLayout(path: path, executor: executor)
    guard let file = try layout.blob(descriptor.digest) else {
      throw ContentError(.corrupt, "\(path)", "lists \(reference), but has no manifest \(descriptor.digest)")
    }
    descriptor.size = file.size
    return (descriptor, layout)
  }

  func registries() throws(ContentError) -> [String] { Array(try names().registries) }

  func children(registry: String, components: [String]) throws(ContentError) -> LocalChildren {
    try names().children(registry: registry, components: components)
  }

  func blob(_ digest: Digest) throws(ContentError) -> BlobFile? {
    try OMMXLayout(path: path, executor: executor).blob(digest)
  }

  private func names() throws(ContentError) -> NameTable {
    let files = ["index.sqlite3", "index.sqlite3-wal"].map { path.appending($0) }
    for _ in 0..<5 {
      // An absent file is a state like any other.
      let before = files.map { try? FileIdentity(at: $0) }
      if let cached = cache.withLock({ $0 }), cached.identities == before { return cached.names }
      let contents = try files.map { (file) throws(ContentError) in
        try Disk.contents(of: file, limit: Self.databaseLimit)
      }
      // A program may have written to one file while the other was read.
      guard files.map({ try? FileIdentity(at: $0) }) == before, let database = contents[0] else { continue }
      let names = try read(database, log: contents[1])
      cache.withLock { $0 = Cached(identities: before, names: names) }
      return names
    }
    throw ContentError(.disk, "\(path)", "its index changed during 5 reads; try again")
  }

  private func read(_ database: [UInt8], log: [UInt8]?) throws(ContentError) -> NameTable {
    let folder = FilePath("/tmp/weightfs-\(getpid())-\(UInt64.random(in: 0 ... .max))")
    defer { Self.remove(folder) }
    let copy = folder.appending("index.sqlite3")
    do throws(Errno) {
      guard folder.withPlatformString({ mkdir($0, 0o700) }) == 0 else { throw Errno(rawValue: errno) }
      try Self.write(database, to: copy)
      if let log { try Self.write(log, to: FilePath(copy.string + "-wal")) }
    } catch {
      throw ContentError(.disk, "\(folder)", error)
    }
    do throws(SQLiteError) {
      let rows = try SQLiteFile(path: copy.string).rows(
        "SELECT name, reference, manifest_digest FROM refs",
        columns: 3
      )
      var entries: [Reference: Descriptor] = [:]
      for row in rows {
        let separator = row[1].contains(":") ? "@" : ":"
        // A row of another version is skipped.
        guard let reference = try? Reference(parsing: "\(row[0])\(separator)\(row[1])"),
          let digest = Digest(row[2])
        else { continue }
        entries[reference] = Descriptor(mediaType: .imageManifest, digest: digest, size: 0)
      }
      return NameTable(entries)
    } catch {
      throw ContentError(.corrupt, "\(path)/index.sqlite3", error.reason)
    }
  }

  private static func write(_ bytes: [UInt8], to path: FilePath) throws(Errno) {
    let file = try Disk.open(
      path,
      .writeOnly,
      options: [.create, .exclusiveCreate, .closeOnExec],
      permissions: [.ownerReadWrite]
    )
    defer { Disk.close(file) }
    try Disk.write(file, bytes, at: 0)
  }

  private static func remove(_ folder: FilePath) {
    // A copy that cannot be removed lies in the temporary directory of the system.
    for name in (try? Disk.names(in: folder)) ?? [] { try? Disk.remove(folder.appending(name)) }
    try? Disk.removeFolder(folder)
  }
}

private struct OMMXLayout: LocalRepository {
  let path: FilePath
  let executor: BlockingExecutor

  var origin: String { path.string }

  func index() throws(ContentError) -> Index { Index(manifests: []) }

  func blob(_ digest: Digest) throws(ContentError) -> BlobFile? {
    try BlobFile.inLayout(path.appending(digest.layoutPath))
  }
}
