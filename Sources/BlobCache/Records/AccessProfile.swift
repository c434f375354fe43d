package import Content
package import OCI
import SystemPackage
import Disk

/// The chunks of a blob that a program read while it started, in order of the first read
/// (docs/local-registry.md, "Profiles").
package struct AccessProfile: Sendable, Codable, Equatable {
  package let version: Int
  package let blob: Digest
  /// Size of the blob in bytes.
  package let size: Int64
  /// Size of a chunk in bytes.
  package let chunkSize: Int64
  /// Pairs of first chunk and number of chunks, in order.
  package let chunks: [[Int]]

  /// Creates a profile.
  ///
  /// - Parameters:
  ///   - blob: The descriptor of the blob.
  ///   - runs: Runs of chunks of 1 MiB, in order.
  package init(_ blob: Descriptor, runs: [Range<Int>]) {
    version = 1
    self.blob = blob.digest
    size = blob.size
    chunkSize = BlockMap.chunkSize
    chunks = runs.map { [$0.lowerBound, $0.count] }
  }

  /// The byte ranges that were read, in order.
  package var ranges: [Range<Int64>] {
    chunks.compactMap { run in
      guard run.count == 2, run[0] >= 0, run[1] > 0, Int64(run[0]) < size / chunkSize + 1, run[1] < 1 << 32
      else {
        return nil
      }
      let start = Int64(run[0]) * chunkSize
      let end = min(Int64(run[0] + run[1]) * chunkSize, size)
      return start < end ? start..<end : nil
    }
  }

  /// Total number of bytes that were read.
  package var byteCount: Int64 { ranges.reduce(0) { $0 + Int64($1.count) } }
}

/// The profiles on disk, and the marks of blobs that are being recorded.
package struct AccessProfileStore: Sendable {
  private let root: RegistryRoot

  /// Creates the profile store of a root.
  package init(root: RegistryRoot) { self.root = root }

  private func path(_ blob: Digest) -> FilePath {
    root.profiles.appending("\(blob.algorithm)-\(blob.hex).json")
  }

  private func mark(_ blob: Digest) -> FilePath {
    root.profiles.appending("\(blob.algorithm)-\(blob.hex).recording")
  }

  /// Reads the profile of a blob, or returns nil if no usable one exists.
  package func read(_ blob: Descriptor) -> AccessProfile? {
    guard let bytes = try? Disk.contents(of: path(blob.digest), limit: 64 << 20),
      let profile = try? JSONDocument.decode(AccessProfile.self, from: bytes), profile.version == 1,
      profile.blob == blob.digest, profile.size == blob.size, profile.chunkSize == BlockMap.chunkSize
    else { return nil }
    return profile
  }

  /// Writes a profile, replacing an earlier one.
  ///
  /// - Throws: `ContentError`.
  package func write(_ profile: AccessProfile) throws(ContentError) {
    let bytes: [UInt8]
    do {
      bytes = try JSONDocument.encode(profile)
    } catch {
      throw ContentError(.invalid, "\(profile.blob)", "the profile cannot be written")
    }
    try root.replace(path(profile.blob), with: bytes, permissions: [.ownerReadWrite, .groupRead, .otherRead])
  }

  /// Whether reads of a blob are to be recorded.
  package func isRecording(_ blob: Digest) -> Bool { Disk.exists(mark(blob)) }

  /// Sets whether processes that serve a blob record its reads.
  ///
  /// - Parameters:
  ///   - isOn: Whether to record.
  ///   - blob: The digest of the blob.
  /// - Throws: `ContentError`.
  package func setRecording(_ isOn: Bool, _ blob: Digest) throws(ContentError) {
    do throws(Errno) {
      guard isOn else { return try Disk.remove(mark(blob)) }
      let options: FileDescriptor.OpenOptions = [.create, .closeOnExec]
      let permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead]
      let file = try Disk.open(mark(blob), .writeOnly, options: options, permissions: permissions)
      Disk.close(file)
    } catch {
      throw ContentError(.disk, "\(mark(blob))", error)
    }
  }
}
