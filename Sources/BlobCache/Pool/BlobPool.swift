import CLinux
package import Content
import Glibc
package import OCI
import Locking
package import SystemPackage
package import Disk

/// The blobs of a root: complete ones under their digest, each once, and partial ones.
package final class BlobPool: Sendable {
  package let root: RegistryRoot
  let bootIdentifier: [UInt8]
  let ledger: SpaceLedger
  /// The file system, or the kernel, knows no fs-verity.
  let lacksVerity = Atomic(false)
  private let open = Mutex<[Digest: WeakPartial]>([:])

  private struct WeakPartial: Sendable {
    weak var blob: PartialBlob?
  }

  /// Files below this size are copied into layouts, where a link would save nothing (design 6).
  static let smallestLink: Int64 = 64 << 10

  package init(root: RegistryRoot, bootIdentifier: [UInt8], ledger: SpaceLedger) {
    self.ledger = ledger
    self.root = root
    self.bootIdentifier = bootIdentifier
  }

  /// The 16 bytes that tell this boot of the machine from another.
  package static func currentBootIdentifier() -> [UInt8] {
    let descriptor = try? Disk.open("/proc/sys/kernel/random/boot_id", .readOnly)
    defer { try? descriptor?.close() }
    var text = [UInt8](repeating: 0, count: 64)
    let count = text.withUnsafeMutableBytes { buffer in
      descriptor.flatMap { try? Disk.read($0, into: buffer, at: 0) } ?? 0
    }
    let digits = text[..<count].filter { $0 != UInt8(ascii: "-") && $0 > 0x20 }
    let identifier = stride(from: 0, to: max(digits.count - 1, 0), by: 2).compactMap { index in
      UInt8(String(decoding: digits[index...index + 1], as: UTF8.self), radix: 16)
    }
    // A kernel that tells none is taken for one that was booted anew each time.
    return identifier.count == 16 ? identifier : (0..<16).map { _ in UInt8.random(in: 0...255) }
  }

  /// What the pool has under a digest.
  package enum Complete: Sendable {
    case none
    case file(BlobFile, isVerified: Bool)
    /// The file was written since its commit, by another program through a hard link, and is out of the way now.
    case setAside(FileIdentity)
  }

  /// Opens a complete blob.
  ///
  /// - Parameter descriptor: of the blob.
  /// - Returns: a file without a record of its commit is not verified.
  /// - Throws: `ContentError`; `corrupt` where the descriptor's size is a lie.
  package func complete(_ descriptor: Descriptor) throws(ContentError) -> Complete {
    let digest = descriptor.digest
    let path = root.blob(digest)
    let record: VerificationRecords.PoolRecord
    let file: BlobFile
    do throws(Errno) {
      guard let found = try BlobFile.open(path) else { return .none }
      file = found
      // Who evicts sees that it is in use.
      try RangeLock.share(found.descriptor, Self.presence)
      record = try judged(found, digest, descriptor.size)
      if record == .different {
        try setAside(digest, ifItIs: found.identity)
        return .setAside(found.identity)
      }
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
    guard file.size == descriptor.size else {
      throw ContentError(
        .corrupt,
        "\(digest)",
        "the blob has \(file.size) bytes, the manifest says \(descriptor.size)"
      )
    }
    return .file(file, isVerified: record == .same)
  }

  /// What the record says of a file; where that differs, what its bytes say.
  ///
  /// A root that was copied or restored has other times, and a loaded blob cannot be had again.
  private func judged(
    _ file: BlobFile,
    _ digest: Digest,
    _ size: Int64
  ) throws(Errno) -> VerificationRecords.PoolRecord {
    let records = VerificationRecords(root: root)
    let record = records.poolRecord(file.identity, digest)
    if record == .same || (record == .none && file.size == size) { return record }
    // By its own bytes: the size is a manifest's word.
    guard try file.digest(digest.algorithm) == digest else { return .different }
    guard file.isInPlace else { return .none }
    try records.recordPool(file.identity, digest)
    return .same
  }

  /// The byte of a blob's file that each process with the blob open holds a shared lock on.
  private static let presence = 0..<1

  /// Shows other processes that a file is in use.
  package func hold(_ file: BlobFile) throws(Errno) { try RangeLock.share(file.descriptor, Self.presence) }

  /// Whether a process, this one or another, has a blob open.
  ///
  /// - Parameters:
  ///   - digest: of the blob.
  ///   - isPartial: the one that is on its way.
  /// - Returns: true also where that cannot be told.
  package func isOpen(_ digest: Digest, isPartial: Bool) -> Bool {
    let path = isPartial ? PartialNames.map(of: root.partial(digest)) : root.blob(digest)
    guard let file = try? Disk.open(path, .readOnly, options: [.closeOnExec, .noFollow]) else {
      return Disk.exists(path)
    }
    defer { try? file.close() }
    return (try? RangeLock.firstConflict(file, Self.presence)) != .some(nil)
  }

  /// Whether a blob is complete here, by its size alone.
  ///
  /// - Parameter descriptor: of the blob.
  package func hasComplete(_ descriptor: Descriptor) -> Bool {
    (try? FileIdentity(at: root.blob(descriptor.digest)))?.size == descriptor.size
  }

  /// Whether the pool has a file under a digest.
  ///
  /// - Parameter digest: of a blob.
  package func hasFile(_ digest: Digest) -> Bool { Disk.exists(root.blob(digest)) }

  /// Whether the pool has a blob or a part of one.
  package func has(_ digest: Digest) -> Bool {
    Disk.exists(root.blob(digest)) || Disk.exists(root.partial(digest))
  }

  /// Opens the partial blob of a digest, one object a process.
  ///
  /// - Parameter descriptor: of the blob.
  /// - Throws: `ContentError`.
  package func partial(_ descriptor: Descriptor) throws(ContentError) -> PartialBlob {
    if let blob = open.withLock({ $0[descriptor.digest]?.blob }), blob.descriptor.size == descriptor.size {
      return blob
    }
    let path = root.partial(descriptor.digest)
    do throws(Errno) {
      let blob = try openPartial(descriptor, path)
      return open.withLock { open in
        if let other = open[descriptor.digest]?.blob, other.descriptor.size == descriptor.size {
          return other
        }
        open[descriptor.digest] = WeakPartial(blob: blob)
        return blob
      }
    } catch {
      throw ContentError(.disk, "\(path)", error)
    }
  }

  /// The files of a partial blob; in memory where the disk has no room for them.
  private func openPartial(_ descriptor: Descriptor, _ path: FilePath) throws(Errno) -> PartialBlob {
    do throws(Errno) {
      let lock = try namesLock(descriptor.digest)
      defer { withExtendedLifetime(lock) {} }
      return try PartialBlob.open(descriptor, path: path, bootIdentifier: bootIdentifier)
    } catch {
      guard error == .noSpace || error == .diskQuotaExceeded || error == .readOnlyFileSystem else {
        throw error
      }
      return try PartialBlob.inMemory(descriptor, path: path, bootIdentifier: bootIdentifier)
    }
  }

  /// What is known of a partial blob without opening it for writing.
  ///
  /// - Parameters:
  ///   - descriptor: of the blob.
  ///   - range: bytes within it.
  /// - Returns: bytes of the range that are there.
  package func partialBytes(_ descriptor: Descriptor, in range: Range<Int64>) -> Int64 {
    if let blob = open.withLock({ $0[descriptor.digest]?.blob }) {
      return blob.blocks.presentBytes(in: range)
    }
    let path = PartialNames.map(of: root.partial(descriptor.digest))
    guard let file = try? Disk.open(path, .readOnly) else { return 0 }
    defer { try? file.close() }
    var blocks = BlockMap(size: descriptor.size)
    let map = PartialMapFile(descriptor: file, size: descriptor.size)
    guard (try? map.bootIdentifier()) != nil, let runs = try? map.presentRuns(in: 0..<blocks.blockCount)
    else {
      return 0
    }
    for run in runs { blocks.insert(run) }
    return blocks.presentBytes(in: range)
  }

  /// Held while a partial blob's names are made, linked or removed: they are the same in every process.
  func namesLock(_ digest: Digest) throws(Errno) -> FileLock {
    try FileLock(waitingFor: root.locks.appending("partial-\(digest.hex)"))
  }

  /// Puts a complete and verified partial blob under its digest: to the disk, recorded, linked, the folder to the disk.
  ///
  /// - Parameter blob: whose digest was just found right.
  /// - Throws: `ContentError`.
  package func commit(_ blob: PartialBlob) throws(ContentError) {
    let digest = blob.descriptor.digest
    do throws(Errno) {
      try Disk.synchronize(blob.file)
      let lock = try namesLock(digest)
      defer { withExtendedLifetime(lock) {} }
      try makeRoom(for: blob)
      if !Disk.exists(root.blob(digest)) { try name(blob) }
      // Its artifact may have been removed while it came: then it is nobody's, and that is known.
      BlobReferences(root: root).note(digest)
      try Disk.synchronizeFolder(root.blobs(digest.algorithm))
      try removeNames(blob)
    } catch {
      throw ContentError(.disk, "\(root.blob(digest))", error)
    }
    open.withLock { $0[digest] = nil }
  }

  /// Moves a file away that lies under the digest and is not known to be right.
  private func makeRoom(for blob: PartialBlob) throws(Errno) {
    let digest = blob.descriptor.digest
    guard let there = try? FileIdentity(at: root.blob(digest)) else { return }
    let own = try FileIdentity(of: blob.file)
    if there.isSameFile(as: own) { return }
    // Another process was first; what it committed is as good, unless somebody wrote to it since.
    if VerificationRecords(root: root).poolRecord(there, digest) != .same {
      try setAsideLocked(digest, ifItIs: there)
    }
  }

  /// Records and links a verified blob, in this order: no name is ever without its record.
  private func name(_ blob: PartialBlob) throws(Errno) {
    let digest = blob.descriptor.digest
    try VerificationRecords(root: root).recordPool(try FileIdentity(of: blob.file), digest)
    var isLinked = true
    do throws(Errno) {
      // By descriptor: the name may be another's by now.
      try Disk.link(blob.file, to: root.blob(digest))
    } catch {
      guard error == .notPermitted || error == .notSupported else { throw error }
      isLinked = false
    }
    if !isLinked { try Disk.rename(blob.path, to: root.blob(digest)) }
    guard fchmod(blob.file.rawValue, 0o444) == 0 else { throw Errno(rawValue: errno) }
  }

  /// Gives a file in memory of nobody else its place under a digest that was found right.
  func adopt(_ file: inout TemporaryFile, _ digest: Digest) throws(Errno) {
    let lock = try namesLock(digest)
    defer { withExtendedLifetime(lock) {} }
    if let there = try? FileIdentity(at: root.blob(digest)) {
      if VerificationRecords(root: root).poolRecord(there, digest) == .same { return }
      try setAsideLocked(digest, ifItIs: there)
    }
    try VerificationRecords(root: root).recordPool(try FileIdentity(of: file.descriptor), digest)
    try file.rename(to: root.blob(digest))
  }

  /// Takes the names of a partial blob away, if they are still its own.
  private func removeNames(_ blob: PartialBlob) throws(Errno) {
    let own = try FileIdentity(of: blob.file)
    guard let named = try? FileIdentity(at: blob.path), named.isSameFile(as: own) else { return }
    // What has another name by now goes on taking its room.
    if try FileIdentity.linkCount(of: blob.file) == 1 { try ledger.add(-Disk.allocatedBytes(blob.path)) }
    try Disk.remove(blob.path)
    try PartialNames.removeMap(of: blob.path)
  }

  /// Throws a partial blob away whose bytes turned out wrong.
  ///
  /// Who has it open keeps the file.
  ///
  /// - Parameter blob: the bad one.
  package func discard(_ blob: PartialBlob) {
    let digest = blob.descriptor.digest
    if let lock = try? namesLock(digest) {
      try? removeNames(blob)
      withExtendedLifetime(lock) {}
    }
    open.withLock { open in
      if open[digest]?.blob === blob { open[digest] = nil }
    }
  }

  /// Forgets the object of a digest whose file is another one now.
  func forgetOpen(_ digest: Digest) { open.withLock { $0[digest] = nil } }

  /// Notes that a file that weightfs did not write, or has no record of, holds a blob.
  ///
  /// - Parameters:
  ///   - file: whose bytes were hashed.
  ///   - digest: that came out.
  /// - Throws: `ContentError`.
  package func noteVerified(_ file: BlobFile, _ digest: Digest) throws(ContentError) {
    let records = VerificationRecords(root: root)
    do throws(Errno) {
      if file.path == root.blob(digest) {
        try records.recordPool(file.identity, digest)
      } else {
        try records.record(file, digest)
      }
    } catch {
      throw ContentError(.disk, "\(root.verified)", error)
    }
  }

  /// Takes a pool's file its good name: it is hashed before it is used again.
  package func noteDoubt(_ digest: Digest) throws(Errno) {
    try VerificationRecords(root: root).doubtPool(digest)
  }

  /// Notes that a file that is not the pool's has other bytes than a blob's digest says.
  package func noteDamaged(_ file: BlobFile, _ digest: Digest) throws(Errno) {
    try VerificationRecords(root: root).recordDamaged(file, digest)
  }

  /// Moves a file out of the way if it is the pool's and its bytes are not what its name says.
  ///
  /// - Parameters:
  ///   - file: whose bytes were hashed.
  ///   - digest: of its name.
  package func reject(_ file: BlobFile, _ digest: Digest) {
    if file.path == root.blob(digest) { try? setAside(digest, ifItIs: file.identity) }
  }

  /// Stores a small blob that is in memory and verified.
  ///
  /// - Parameters:
  ///   - bytes: all of it.
  ///   - digest: of the bytes.
  /// - Throws: `ContentError`.
  package func store(_ bytes: [UInt8], digest: Digest) throws(ContentError) {
    let path = root.blob(digest)
    guard Verification.digest(of: bytes, digest.algorithm) == digest else {
      throw ContentError(.corrupt, "\(digest)", "the bytes that a document carries for it are others")
    }
    if let there = try? FileIdentity(at: path) {
      // Small enough to be looked at: a damaged one is replaced.
      if (try? Disk.contents(of: path, limit: bytes.count)) == bytes { return }
      let isOther = there.size != Int64(bytes.count)
      if isOther, VerificationRecords(root: root).poolRecord(there, digest) == .same { return }
    }
    try root.replace(path, with: bytes, permissions: [.ownerRead, .groupRead, .otherRead])
    try? ledger.add(Disk.allocatedBytes(path))
    guard let identity = try? FileIdentity(at: path) else { return }
    // A blob without a record is hashed again; that is all.
    try? VerificationRecords(root: root).recordPool(identity, digest)
  }

  /// Moves a blob that is not what its name says out of the way; nothing of it is served again.
  ///
  /// - Parameters:
  ///   - digest: of its name.
  ///   - file: which file was found wrong: another may have its place by now.
  /// - Throws: `Errno`.
  package func setAside(_ digest: Digest, ifItIs file: FileIdentity) throws(Errno) {
    let lock = try namesLock(digest)
    defer { withExtendedLifetime(lock) {} }
    try setAsideLocked(digest, ifItIs: file)
  }

  /// The same for who has the lock of the blob's names.
  private func setAsideLocked(_ digest: Digest, ifItIs file: FileIdentity) throws(Errno) {
    guard let there = try? FileIdentity(at: root.blob(digest)), there.isSameFile(as: file) else { return }
    try Disk.createFolder(root.bad)
    try ledger.add(-Disk.allocatedBytes(root.blob(digest)))
    try Disk.rename(root.blob(digest), to: root.bad.appending("\(digest.algorithm)-\(digest.hex)"))
  }
}
