import CLinux
package import Content
import Glibc
package import OCI
import Locking
package import SystemPackage
package import Disk

/// The blobs of a root: complete blobs under their digest, each stored once, and partial blobs.
package final class BlobPool: Sendable {
  package let root: RegistryRoot
  let bootIdentifier: [UInt8]
  let ledger: SpaceLedger
  /// Whether the file system or the kernel does not support fs-verity.
  let lacksVerity = Atomic(false)
  private let open = Mutex<[Digest: WeakPartial]>([:])

  private struct WeakPartial: Sendable {
    weak var blob: PartialBlob?
  }

  /// Files below this size, in bytes, are copied into layouts, as a link would save almost nothing.
  static let smallestLink: Int64 = 64 << 10

  package init(root: RegistryRoot, bootIdentifier: [UInt8], ledger: SpaceLedger) {
    self.ledger = ledger
    self.root = root
    self.bootIdentifier = bootIdentifier
  }

  /// Returns the 16 bytes that identify this boot of the machine.
  package static func currentBootIdentifier() -> [UInt8] {
    let descriptor = try? Disk.open("/proc/sys/kernel/random/boot_id", .readOnly)
    defer { descriptor.map(Disk.close) }
    var text = [UInt8](repeating: 0, count: 64)
    let count = text.withUnsafeMutableBytes { buffer in
      // Without the identifier no map is trusted after a restart.
      descriptor.flatMap { try? Disk.read($0, into: buffer, at: 0) } ?? 0
    }
    let digits = text[..<count].filter { $0 != UInt8(ascii: "-") && $0 > 0x20 }
    let identifier = stride(from: 0, to: max(digits.count - 1, 0), by: 2).compactMap { index in
      UInt8(String(decoding: digits[index...index + 1], as: UTF8.self), radix: 16)
    }
    // If the kernel reports no boot identifier, every start counts as a reboot.
    return identifier.count == 16 ? identifier : (0..<16).map { _ in UInt8.random(in: 0...255) }
  }

  /// The state of a complete blob in the pool.
  package enum Complete: Sendable {
    case none
    case file(BlobFile, isVerified: Bool)
    /// Another program modified the file through a hard link since its commit; the file has been moved to
    /// `bad`.
    case setAside(FileIdentity)
  }

  /// Opens a complete blob.
  ///
  /// - Parameter descriptor: The descriptor of the blob.
  /// - Returns: A file without a commit record counts as not verified.
  /// - Throws: `ContentError`; of code `corrupt` if a verified file has another size than the descriptor.
  package func complete(_ descriptor: Descriptor) throws(ContentError) -> Complete {
    let digest = descriptor.digest
    let path = root.blob(digest)
    let record: VerificationRecords.PoolRecord
    let file: BlobFile
    do throws(Errno) {
      guard let found = try BlobFile.open(path) else { return .none }
      file = found
      // From here on, eviction sees that the file is in use.
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

  /// Compares a file with its commit record, and hashes it if they differ.
  ///
  /// Times differ after a root was copied or restored, and a loaded blob cannot be fetched again.
  private func judged(
    _ file: BlobFile,
    _ digest: Digest,
    _ size: Int64
  ) throws(Errno) -> VerificationRecords.PoolRecord {
    let records = VerificationRecords(root: root)
    let record = records.poolRecord(file.identity, digest)
    if record == .same || (record == .none && file.size == size) { return record }
    // Hash the bytes rather than trust the size, which comes from a manifest.
    guard try file.digest(digest.algorithm) == digest else { return .different }
    guard file.isInPlace else { return .none }
    try records.recordPool(file.identity, digest)
    return .same
  }

  /// The byte of a blob's file on which each process that has the blob open holds a shared lock.
  private static let presence = 0..<1

  /// Marks a file as in use, for other processes.
  package func hold(_ file: BlobFile) throws(Errno) { try RangeLock.share(file.descriptor, Self.presence) }

  /// Whether any process has a blob open; true if this cannot be determined.
  ///
  /// - Parameters:
  ///   - digest: The digest of the blob.
  ///   - isPartial: Whether to check the partial blob.
  package func isOpen(_ digest: Digest, isPartial: Bool) -> Bool {
    let path = isPartial ? PartialNames.map(of: root.partial(digest)) : root.blob(digest)
    guard let file = try? Disk.open(path, .readOnly, options: [.closeOnExec, .noFollow]) else {
      return Disk.exists(path)
    }
    defer { Disk.close(file) }
    // A lock that cannot be read counts as held.
    return (try? RangeLock.firstConflict(file, Self.presence)) != .some(nil)
  }

  /// Whether the pool has a file of the blob's size; the bytes are not checked.
  package func hasComplete(_ descriptor: Descriptor) -> Bool {
    (try? FileIdentity(at: root.blob(descriptor.digest)))?.size == descriptor.size
  }

  /// Whether the pool has a file under a digest.
  package func hasFile(_ digest: Digest) -> Bool { Disk.exists(root.blob(digest)) }

  /// Whether the pool has a complete or partial blob under a digest.
  package func has(_ digest: Digest) -> Bool {
    Disk.exists(root.blob(digest)) || Disk.exists(root.partial(digest))
  }

  /// Opens the partial blob of a digest; one object per process.
  ///
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

  /// Opens the files of a partial blob; in memory if the disk has no space for them.
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

  /// Returns how many bytes of a range are present in a partial blob, without opening it for writing.
  ///
  /// - Parameters:
  ///   - descriptor: The descriptor of the blob.
  ///   - range: A byte range within the blob.
  package func partialBytes(_ descriptor: Descriptor, in range: Range<Int64>) -> Int64 {
    if let blob = open.withLock({ $0[descriptor.digest]?.blob }) {
      return blob.blocks.presentBytes(in: range)
    }
    let path = PartialNames.map(of: root.partial(descriptor.digest))
    // A map that cannot be read has no present blocks.
    guard let file = try? Disk.open(path, .readOnly) else { return 0 }
    defer { Disk.close(file) }
    var blocks = BlockMap(size: descriptor.size)
    let map = PartialMapFile(descriptor: file, size: descriptor.size)
    guard (try? map.bootIdentifier()) != nil, let runs = try? map.presentRuns(in: 0..<blocks.blockCount)
    else {
      return 0
    }
    for run in runs { blocks.insert(run) }
    return blocks.presentBytes(in: range)
  }

  /// Takes the lock for creating, linking and removing the names of a partial blob; other processes take the
  /// same one.
  func namesLock(_ digest: Digest) throws(Errno) -> FileLock {
    try FileLock(waitingFor: root.locks.appending("partial-\(digest.hex)"))
  }

  /// Moves a complete, verified partial blob into the pool: syncs the file, records it, links it, syncs the
  /// directory.
  ///
  /// - Parameter blob: A blob whose digest was just verified.
  /// - Throws: `ContentError`.
  package func commit(_ blob: PartialBlob) throws(ContentError) {
    let digest = blob.descriptor.digest
    do throws(Errno) {
      try Disk.synchronize(blob.file)
      let lock = try namesLock(digest)
      defer { withExtendedLifetime(lock) {} }
      try makeRoom(for: blob)
      if !Disk.exists(root.blob(digest)) { try name(blob) }
      // If its artifact was removed while the blob arrived, the empty record marks the blob as unreferenced.
      BlobReferences(root: root).note(digest)
      try Disk.synchronizeFolder(root.blobs(digest.algorithm))
      try removeNames(blob)
    } catch {
      throw ContentError(.disk, "\(root.blob(digest))", error)
    }
    open.withLock { $0[digest] = nil }
  }

  /// Moves an unverified file under the same digest out of the way.
  private func makeRoom(for blob: PartialBlob) throws(Errno) {
    let digest = blob.descriptor.digest
    guard let there = try? FileIdentity(at: root.blob(digest)) else { return }
    let own = try FileIdentity(of: blob.file)
    if there.isSameFile(as: own) { return }
    // Another process committed first; its file is equivalent, unless a program has modified it since.
    if VerificationRecords(root: root).poolRecord(there, digest) != .same {
      try setAsideLocked(digest, ifItIs: there)
    }
  }

  /// Records and links a verified blob, in this order: no name exists without its record.
  private func name(_ blob: PartialBlob) throws(Errno) {
    let digest = blob.descriptor.digest
    try VerificationRecords(root: root).recordPool(try FileIdentity(of: blob.file), digest)
    var isLinked = true
    do throws(Errno) {
      // Linked by descriptor: the name may refer to another file by now.
      try Disk.link(blob.file, to: root.blob(digest))
    } catch {
      guard error == .notPermitted || error == .notSupported else { throw error }
      isLinked = false
    }
    if !isLinked { try Disk.rename(blob.path, to: root.blob(digest)) }
    guard fchmod(blob.file.rawValue, 0o444) == 0 else { throw Errno(rawValue: errno) }
  }

  /// Moves a verified temporary file into the pool.
  func adopt(_ file: inout TemporaryFile, _ digest: Digest) throws(Errno) {
    let lock = try namesLock(digest)
    defer { withExtendedLifetime(lock) {} }
    // No file, or one that the rename below replaces.
    if let there = try? FileIdentity(at: root.blob(digest)) {
      if VerificationRecords(root: root).poolRecord(there, digest) == .same { return }
      try setAsideLocked(digest, ifItIs: there)
    }
    try VerificationRecords(root: root).recordPool(try FileIdentity(of: file.descriptor), digest)
    try file.rename(to: root.blob(digest))
  }

  /// Removes the names of a partial blob, if they still refer to its own files.
  private func removeNames(_ blob: PartialBlob) throws(Errno) {
    let own = try FileIdentity(of: blob.file)
    guard let named = try? FileIdentity(at: blob.path), named.isSameFile(as: own) else { return }
    // A file with another hard link still occupies its space.
    if try FileIdentity.linkCount(of: blob.file) == 1 {
      _ = try ledger.remove(blob.path)
    } else {
      try Disk.remove(blob.path)
    }
    try PartialNames.removeMap(of: blob.path)
  }

  /// Discards a partial blob whose bytes turned out wrong.
  ///
  /// Processes that have it open keep their descriptors.
  package func discard(_ blob: PartialBlob) {
    let digest = blob.descriptor.digest
    if let lock = try? namesLock(digest) {
      // Names that stay are those of a blob that is begun again.
      try? removeNames(blob)
      withExtendedLifetime(lock) {}
    }
    open.withLock { open in
      if open[digest]?.blob === blob { open[digest] = nil }
    }
  }

  /// Forgets the open object of a digest, after another file took its path.
  func forgetOpen(_ digest: Digest) { open.withLock { $0[digest] = nil } }

  /// Records that a file holds a blob, after hashing a file that weightfs did not write or has no record of.
  ///
  /// - Parameters:
  ///   - file: The hashed file.
  ///   - digest: The resulting digest.
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

  /// Marks a pool file untrusted; it is hashed again before its next use.
  package func noteDoubt(_ digest: Digest) throws(Errno) {
    try VerificationRecords(root: root).doubtPool(digest)
  }

  /// Records that the bytes of a file outside of the pool do not match a blob's digest.
  package func noteDamaged(_ file: BlobFile, _ digest: Digest) throws(Errno) {
    try VerificationRecords(root: root).recordDamaged(file, digest)
  }

  /// Moves a file to `bad` if it is the pool's file of that digest, after its bytes turned out wrong.
  ///
  /// - Parameters:
  ///   - file: The hashed file.
  ///   - digest: The digest of its name.
  package func reject(_ file: BlobFile, _ digest: Digest) {
    if file.path == root.blob(digest) { try? setAside(digest, ifItIs: file.identity) }
  }

  /// Stores a small blob that is in memory.
  ///
  /// - Parameters:
  ///   - bytes: All bytes of the blob.
  ///   - digest: The expected digest.
  /// - Throws: `ContentError`; of code `corrupt` if the bytes do not match the digest.
  package func store(_ bytes: [UInt8], digest: Digest) throws(ContentError) {
    let path = root.blob(digest)
    guard Verification.digest(of: bytes, digest.algorithm) == digest else {
      throw ContentError(.corrupt, "\(digest)", "the bytes embedded in a document do not match the digest")
    }
    if let there = try? FileIdentity(at: path) {
      // Small enough to compare: a damaged file is replaced.
      if (try? Disk.contents(of: path, limit: bytes.count)) == bytes { return }
      let isOther = there.size != Int64(bytes.count)
      if isOther, VerificationRecords(root: root).poolRecord(there, digest) == .same { return }
    }
    try root.replace(path, with: bytes, permissions: [.ownerRead, .groupRead, .otherRead])
    // The next count puts the ledger right.
    try? ledger.add(Disk.allocatedBytes(path))
    guard let identity = try? FileIdentity(at: path) else { return }
    // If this fails, the blob is only hashed again at its next use.
    try? VerificationRecords(root: root).recordPool(identity, digest)
  }

  /// Moves a blob whose bytes do not match its digest to `bad`; it is not served again.
  ///
  /// - Parameters:
  ///   - digest: The digest of its name.
  ///   - file: The identity of the file that was found wrong: another file may have its name by now.
  /// - Throws: `Errno`.
  package func setAside(_ digest: Digest, ifItIs file: FileIdentity) throws(Errno) {
    let lock = try namesLock(digest)
    defer { withExtendedLifetime(lock) {} }
    try setAsideLocked(digest, ifItIs: file)
  }

  /// Does the same; the caller holds the lock on the blob's names.
  private func setAsideLocked(_ digest: Digest, ifItIs file: FileIdentity) throws(Errno) {
    guard let there = try? FileIdentity(at: root.blob(digest)), there.isSameFile(as: file) else { return }
    try Disk.createFolder(root.bad)
    try ledger.add(-Disk.allocatedBytes(root.blob(digest)))
    try Disk.rename(root.blob(digest), to: root.bad.appending("\(digest.algorithm)-\(digest.hex)"))
  }
}
