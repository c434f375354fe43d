import FoundationEssentials

/// The state of a mount, as `weightfs status --json` prints it.
package struct MountStatus: Codable, Sendable {
  /// An open file.
  package struct File: Codable, Sendable {
    package let path: String
    package let digest: String
    package let size: Int64
    package let cachedBytes: Int64
    /// `passthrough` or `daemon`.
    package let served: String
  }

  /// A blob that is being fetched or verified.
  package struct Blob: Codable, Sendable {
    package let digest: String
    package let file: String?
    package let origin: String?
    package let size: Int64
    package let cachedBytes: Int64
    /// Bytes per second.
    package let rate: Double
    package let secondsLeft: Double?
    package let requests: Int
    package let waitingReads: Int
    /// Seconds that a read has waited.
    package let longestWait: Double?
  }

  /// The disk space of cached blobs.
  package struct Cache: Codable, Sendable {
    package let usedBytes: Int64
    /// Bytes; nil for no limit.
    package let limit: Int64?
    /// Bytes that stay free on the disk.
    package let minFree: Int64
    package let freeBytes: Int64
    /// Bytes of reads that were answered from the cache, of all bytes that the daemon served; nil before the first.
    package let hitRate: Double?
    /// Bytes that were fetched, of the bytes that readers waited for; nil before the first.
    package let amplification: Double?
    package let evictedBytes: UInt64
  }

  /// A host that was asked.
  package struct Endpoint: Codable, Sendable {
    package let host: String
    package let succeeded: UInt64
    package let failed: UInt64
  }

  /// A failed operation.
  package struct Failure: Codable, Sendable {
    /// Seconds since it happened.
    package let age: Double
    package let operation: String
    package let path: String
    package let errno: String
    package let reason: String
  }

  package let version: String
  package let process: Int32
  package let mountPoint: String
  package let source: String
  package let root: String
  /// Seconds since the mount was ready.
  package let uptime: Double
  package let openFiles: [File]
  package let fetching: [Blob]
  package let cache: Cache
  package let endpoints: [Endpoint]
  package let failures: [Failure]

  /// The status as JSON.
  package var json: [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    // A status has only numbers and texts, which always can be encoded.
    return (try? encoder.encode(self)).map { Array($0) } ?? Array("{}".utf8)
  }
}

extension MountStatus {
  /// Parses the answer of a daemon; returns nil for other bytes.
  package init?(json: [UInt8]) {
    guard let status = try? JSONDecoder().decode(MountStatus.self, from: Data(json)) else { return nil }
    self = status
  }
}
