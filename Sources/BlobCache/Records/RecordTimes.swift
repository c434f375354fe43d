import Disk
import Glibc
import Locking
package import OCI
import SystemPackage

/// When this root first recorded a manifest or a blob: the modification time of files whose packaging has none
/// (docs/local-registry.md, "Times").
///
/// One file for all blobs, `state/times`, so that looking up an artifact of 30,000 layers writes one file: 16 bytes a
/// record, the first 8 bytes of a digest and seconds since 1970, little endian. Two digests with the same 8 bytes share
/// a time.
package final class RecordTimes: Sendable {
  private static let recordSize = 16
  // Records. A larger file loses the older half of its records.
  private static let limit = 1 << 20

  private let path: FilePath
  private let lockPath: FilePath
  private let state = Mutex(State())

  private struct State {
    var times: [UInt64: Int64] = [:]
    /// Bytes of the file that were read.
    var position: Int64 = 0
    var identity: FileIdentity?
  }

  /// Creates the times of a root.
  package init(root: RegistryRoot) {
    path = root.times
    lockPath = root.locks.appending("times")
  }

  /// Returns when blobs were first recorded, in seconds since 1970; records those that were not.
  ///
  /// Blocks the calling thread. If the file cannot be written, the times hold for this process.
  ///
  /// - Parameters:
  ///   - digests: Manifests and blobs.
  ///   - now: Seconds since 1970.
  package func times(of digests: Set<Digest>, now: Int64 = Int64(time(nil))) -> [Digest: Int64] {
    if let known = known(digests) { return known }
    do throws(Errno) {
      let lock = try FileLock(waitingFor: lockPath)
      defer { withExtendedLifetime(lock) {} }
      try refresh()
      let absent = state.withLock { state in digests.filter { state.times[$0.prefix64] == nil } }
      if !absent.isEmpty { try append(absent, now) }
    } catch {
      // Without the file another process may give other times; the files are right.
      state.withLock { state in
        for digest in digests where state.times[digest.prefix64] == nil { state.times[digest.prefix64] = now }
      }
    }
    return known(digests) ?? [:]
  }

  private func known(_ digests: Set<Digest>) -> [Digest: Int64]? {
    state.withLock { state in
      var found: [Digest: Int64] = [:]
      for digest in digests {
        guard let time = state.times[digest.prefix64] else { return nil }
        found[digest] = time
      }
      return found
    }
  }

  /// Reads the records that other processes have added; the caller holds the lock of the file.
  private func refresh() throws(Errno) {
    let file: FileDescriptor
    do throws(Errno) {
      file = try Disk.open(path, .readOnly, options: [.closeOnExec])
    } catch .noSuchFileOrDirectory {
      state.withLock { $0 = State() }
      return
    }
    defer { Disk.close(file) }
    let identity = try FileIdentity(of: file)
    var position: Int64 = state.withLock { state in
      // A root that was removed and created again, or a file that was shortened, is read from its start.
      if state.identity?.isSameFile(as: identity) != true || identity.size < state.position {
        state = State()
      }
      state.identity = identity
      return state.position
    }
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      var count = 0
      var failure: Errno?
      bytes.withUnsafeMutableBytes { buffer in
        do throws(Errno) { count = try Disk.read(file, into: buffer, at: position) } catch { failure = error }
      }
      if let failure { throw failure }
      let records = count / Self.recordSize
      guard records > 0 else { return }
      let (keys, times) = Self.decoded(bytes[..<(records * Self.recordSize)])
      position += Int64(records * Self.recordSize)
      state.withLock { state in
        state.position = position
        // The first record of a blob counts.
        for (key, time) in zip(keys, times) where state.times[key] == nil { state.times[key] = time }
      }
    }
  }

  private func append(_ digests: Set<Digest>, _ now: Int64) throws(Errno) {
    if state.withLock({ $0.times.count }) + digests.count > Self.limit { try shorten() }
    let options: FileDescriptor.OpenOptions = [.create, .closeOnExec]
    let file = try Disk.open(path, .readWrite, options: options, permissions: [.ownerReadWrite])
    defer { Disk.close(file) }
    // A record that was cut off by a crash is overwritten.
    let end = state.withLock { $0.position }
    let bytes = Self.encoded(digests.map { ($0.prefix64, now) })
    try Disk.write(file, bytes, at: end)
    let identity = try FileIdentity(of: file)
    state.withLock { state in
      state.identity = identity
      state.position = end + Int64(bytes.count)
      for digest in digests { state.times[digest.prefix64] = now }
    }
  }

  /// Keeps the newer half of the records.
  private func shorten() throws(Errno) {
    let times = state.withLock { $0.times }
    let kept = times.sorted { $0.value > $1.value }.prefix(Self.limit / 2)
    let file = try Disk.open(path, .writeOnly, options: [.create, .truncate, .closeOnExec])
    defer { Disk.close(file) }
    let bytes = Self.encoded(kept.map { ($0.key, $0.value) })
    try Disk.write(file, bytes, at: 0)
    state.withLock { state in
      state.times = Dictionary(kept.map { ($0.key, $0.value) }) { first, _ in first }
      state.position = Int64(bytes.count)
    }
  }

  private static func encoded(_ records: [(UInt64, Int64)]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(records.count * recordSize)
    for (key, time) in records {
      withUnsafeBytes(of: key.littleEndian) { bytes += $0 }
      withUnsafeBytes(of: time.littleEndian) { bytes += $0 }
    }
    return bytes
  }

  private static func decoded(_ bytes: ArraySlice<UInt8>) -> (keys: [UInt64], times: [Int64]) {
    var (keys, times): ([UInt64], [Int64]) = ([], [])
    bytes.withUnsafeBytes { buffer in
      for start in stride(from: 0, to: buffer.count, by: recordSize) {
        keys.append(UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: start, as: UInt64.self)))
        times.append(Int64(littleEndian: buffer.loadUnaligned(fromByteOffset: start + 8, as: Int64.self)))
      }
    }
    return (keys, times)
  }
}
