package import Content
package import OCI
import SystemPackage
import Disk

/// Which chunks of a blob a start read, in the order in which each was first (docs/local-registry.md, "Profiles").
package struct AccessProfile: Sendable, Codable, Equatable {
  package let version: Int
  package let blob: Digest
  /// Of the blob, bytes.
  package let size: Int64
  /// Of a chunk, bytes.
  package let chunkSize: Int64
  /// First chunk and number of chunks, in order.
  package let chunks: [[Int]]

  /// Makes a profile.
  ///
  /// - Parameters:
  ///   - blob: whose.
  ///   - runs: chunks of 1 MiB, in order.
  package init(_ blob: Descriptor, runs: [Range<Int>]) {
    version = 1
    self.blob = blob.digest
    size = blob.size
    chunkSize = BlockMap.chunkSize
    chunks = runs.map { [$0.lowerBound, $0.count] }
  }

  /// The bytes that were read, in order.
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

  /// All bytes that were read.
  package var byteCount: Int64 { ranges.reduce(0) { $0 + Int64($1.count) } }
}

/// Profiles on disk, and which blobs are to be recorded.
package struct AccessProfileStore: Sendable {
  private let root: RegistryRoot

  /// The profiles of a root.
  ///
  /// - Parameter root: of the local registry.
  package init(root: RegistryRoot) { self.root = root }

  private func path(_ blob: Digest) -> FilePath {
    root.profiles.appending("\(blob.algorithm)-\(blob.hex).json")
  }

  private func mark(_ blob: Digest) -> FilePath {
    root.profiles.appending("\(blob.algorithm)-\(blob.hex).recording")
  }

  /// Reads a profile.
  ///
  /// - Parameter blob: whose.
  /// - Returns: nil where there is none, or one that cannot be used.
  package func read(_ blob: Descriptor) -> AccessProfile? {
    guard let bytes = try? Disk.contents(of: path(blob.digest), limit: 64 << 20),
      let profile = try? JSONDocument.decode(AccessProfile.self, from: bytes), profile.version == 1,
      profile.blob == blob.digest, profile.size == blob.size, profile.chunkSize == BlockMap.chunkSize
    else { return nil }
    return profile
  }

  /// Keeps a profile.
  ///
  /// - Parameter profile: in place of an earlier one.
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
  ///
  /// - Parameter blob: whose.
  package func isRecording(_ blob: Digest) -> Bool { Disk.exists(mark(blob)) }

  /// Says whether reads of a blob are to be recorded by whoever serves them.
  ///
  /// - Parameters:
  ///   - isOn: whether.
  ///   - blob: whose.
  /// - Throws: `ContentError`.
  package func setRecording(_ isOn: Bool, _ blob: Digest) throws(ContentError) {
    do throws(Errno) {
      guard isOn else { return try Disk.remove(mark(blob)) }
      let options: FileDescriptor.OpenOptions = [.create, .closeOnExec]
      let permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead]
      let file = try Disk.open(mark(blob), .writeOnly, options: options, permissions: permissions)
      try? file.close()
    } catch {
      throw ContentError(.disk, "\(mark(blob))", error)
    }
  }
}
