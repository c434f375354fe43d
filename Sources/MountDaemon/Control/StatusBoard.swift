import BlobCache
import Content
import Disk
package import FileSystem
import Fetching
import Glibc
package import LocalRegistry
import OCI
import SystemPackage
package import Telemetry

/// Collects the status and the metrics of a mount.
package final class StatusBoard: Sendable {
  private let version: String
  private let mountPoint: String
  private let source: String
  private let fileSystem: FileSystem
  private let local: LocalRegistry
  private let metrics: Metrics
  private let start = ContinuousClock.now

  /// Creates a board.
  ///
  /// - Parameters:
  ///   - version: The version of the program.
  ///   - mountPoint: The absolute path of the mount.
  ///   - source: The mounted artifact, or the name of the tree.
  ///   - fileSystem: The mounted file system.
  ///   - local: The local registry.
  ///   - metrics: The metrics of the process.
  package init(
    version: String,
    mountPoint: String,
    source: String,
    fileSystem: FileSystem,
    local: LocalRegistry,
    metrics: Metrics
  ) {
    self.version = version
    self.mountPoint = mountPoint
    self.source = source
    self.fileSystem = fileSystem
    self.local = local
    self.metrics = metrics
  }

  /// The metrics in the text form of Prometheus; blocks for the locks of the cache.
  package var metricsText: String {
    let cache = cache
    let activities = fileSystem.activities
    metrics.openFiles.set(Int64(fileSystem.handleCount))
    metrics.activeBlobs.set(Int64(activities.count))
    metrics.waitingReads.set(Int64(activities.reduce(0) { $0 + $1.waiterCount }))
    metrics.cacheUsed.set(cache.usedBytes)
    metrics.cacheLimit.set(cache.limit ?? 0)
    metrics.diskFree.set(cache.freeBytes)
    return metrics.text
  }

  /// The status; blocks for the locks of the cache.
  package var status: MountStatus {
    let now = ContinuousClock.now
    return MountStatus(
      version: version,
      process: getpid(),
      mountPoint: mountPoint,
      source: source,
      root: "\(local.root.path)",
      uptime: Self.seconds(now - start),
      openFiles: fileSystem.openFiles.map { file in
        MountStatus.File(
          path: file.path,
          digest: "\(file.digest)",
          size: file.size,
          cachedBytes: file.cachedBytes,
          served: file.isPassing ? "passthrough" : "daemon"
        )
      },
      fetching: fileSystem.activities.map { blob(of: $0, now) },
      cache: cache,
      endpoints: endpoints,
      failures: RecentFailures.shared.all.map { failure in
        MountStatus.Failure(
          age: Self.seconds(now - failure.instant),
          operation: failure.operation,
          path: failure.path,
          errno: failure.errno,
          reason: failure.reason
        )
      }
    )
  }

  private func blob(of activity: BlobActivity, _ now: ContinuousClock.Instant) -> MountStatus.Blob {
    MountStatus.Blob(
      digest: "\(activity.digest)",
      file: activity.name,
      origin: activity.origin,
      size: activity.size,
      cachedBytes: activity.cachedBytes,
      rate: activity.rate,
      secondsLeft: activity.secondsLeft,
      requests: activity.requestCount,
      waitingReads: activity.waiterCount,
      longestWait: activity.waitingSince.map { Self.seconds(now - $0) }
    )
  }

  private var cache: MountStatus.Cache {
    let (hits, misses) = (metrics.cacheReadBytes.value, metrics.networkReadBytes.value)
    // Without the numbers of the ledger the status shows the others.
    let usage = try? local.space.current()
    return MountStatus.Cache(
      usedBytes: usage?.used ?? 0,
      limit: usage?.limits.cacheLimit,
      minFree: max(usage?.limits.minimumFree ?? 0, usage?.limits.defaultFree ?? 0),
      freeBytes: (try? Disk.freeBytes(local.root.path)) ?? 0,
      hitRate: hits + misses > 0 ? Double(hits) / Double(hits + misses) : nil,
      amplification: misses > 0 ? Double(metrics.httpBytes.value) / Double(hits + misses) : nil,
      evictedBytes: metrics.evictedBytes.value
    )
  }

  private var endpoints: [MountStatus.Endpoint] {
    var hosts: [String: (succeeded: UInt64, failed: UInt64)] = [:]
    for (values, count) in metrics.responses.all {
      guard values.count == 2, let status = Int(values[1]) else { continue }
      // 401 asks for a token, 404 answers a look-up, 416 a range: the host works.
      let isFailure = status == 0 || status == 429 || status >= 500
      if isFailure {
        hosts[values[0], default: (0, 0)].failed += count
      } else {
        hosts[values[0], default: (0, 0)].succeeded += count
      }
    }
    return hosts.sorted { $0.key < $1.key }.map {
      MountStatus.Endpoint(host: $0.key, succeeded: $0.value.succeeded, failed: $0.value.failed)
    }
  }

  private static func seconds(_ duration: Duration) -> Double { duration / .seconds(1) }
}
