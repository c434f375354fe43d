/// All metrics of the program, so that every name is in one file.
package struct Metrics: Sendable {
  package let httpRequests = Counter(
    name: "weightfs_http_requests_total",
    help: "HTTP requests sent to registries and redirect targets."
  )
  package let httpBytes = Counter(
    name: "weightfs_http_body_bytes_total",
    help: "Bytes of response bodies received."
  )
  package let badBlobs = Counter(
    name: "weightfs_bad_blobs_total",
    help: "Blobs whose digest turned out wrong."
  )
  package let committedBlobs = Counter(
    name: "weightfs_committed_blobs_total",
    help: "Blobs verified and committed."
  )
  package let staleResolutions = Counter(
    name: "weightfs_stale_resolutions_total",
    help: "Tag resolutions for which the last known answer was used, as the registry did not answer."
  )
  package let failedOperations = Counter(
    name: "weightfs_failed_operations_total",
    help: "File system operations that failed with an error other than not found."
  )
  package let skippedStores = Counter(
    name: "weightfs_skipped_stores_total",
    help: "Times an additional store was skipped, as it could not be read."
  )

  package let passthroughRefusals = Counter(
    name: "weightfs_passthrough_refusals_total",
    help: "Files that the kernel refused for passthrough, so that the daemon serves them."
  )

  package let badChunks = Counter(
    name: "weightfs_bad_chunks_total",
    help: "Chunks whose bytes did not match their trusted digest."
  )

  package let evictedBlobs = Counter(
    name: "weightfs_evicted_blobs_total",
    help: "Blobs and partial blobs that were evicted."
  )
  package let evictedBytes = Counter(
    name: "weightfs_evicted_bytes_total",
    help: "Disk space in bytes freed by eviction."
  )
  package let refusedSpace = Counter(
    name: "weightfs_refused_space_total",
    help: "Times bytes were served without being cached, as the limits left no space."
  )

  package let cacheReads = Counter(
    name: "weightfs_cache_reads_total",
    help: "Reads that the daemon answered at once, from the cache."
  )
  package let cacheReadBytes = Counter(
    name: "weightfs_cache_read_bytes_total",
    help: "Bytes of reads that the daemon answered at once, from the cache."
  )
  package let networkReads = Counter(
    name: "weightfs_network_reads_total",
    help: "Reads that had to wait for bytes from a registry."
  )
  package let networkReadBytes = Counter(
    name: "weightfs_network_read_bytes_total",
    help: "Bytes of reads that had to wait for bytes from a registry."
  )
  package let readWait = Histogram(
    name: "weightfs_read_wait_seconds",
    help: "Time that reads waited for bytes from a registry."
  )
  package let lookUpTime = Histogram(
    name: "weightfs_lookup_seconds",
    help: "Time of look-ups, opens and listings that could not be answered at once."
  )
  package let opens = LabelledCounter(
    name: "weightfs_opens_total",
    labels: ["served"],
    help: "Opened files, by who serves their reads: passthrough (the kernel) or daemon."
  )
  package let errors = LabelledCounter(
    name: "weightfs_errors_total",
    labels: ["errno", "cause"],
    help: "Failed file system operations, by the errno of the program and the cause."
  )
  package let responses = LabelledCounter(
    name: "weightfs_http_responses_total",
    labels: ["host", "status"],
    help: "Responses by host and status; status 0 is a request without a response."
  )
  package let retries = LabelledCounter(
    name: "weightfs_http_retries_total",
    labels: ["host", "reason"],
    help: "Requests that were repeated, by host, and status or failure."
  )
  package let tokens = LabelledCounter(
    name: "weightfs_tokens_total",
    labels: ["host"],
    help: "Tokens requested from authorization servers, by host."
  )
  package let openFiles = Gauge(name: "weightfs_open_files", help: "Open files.")
  package let waitingReads = Gauge(
    name: "weightfs_waiting_reads",
    help: "Reads that wait for bytes from a registry."
  )
  package let activeBlobs = Gauge(
    name: "weightfs_active_blobs",
    help: "Blobs that are being fetched or verified."
  )
  package let cacheUsed = Gauge(
    name: "weightfs_cache_used_bytes",
    help: "Disk space of cached blobs, reserved space included."
  )
  package let cacheLimit = Gauge(
    name: "weightfs_cache_limit_bytes",
    help: "The maximum size of cached blobs; 0 for no limit."
  )
  package let diskFree = Gauge(
    name: "weightfs_disk_free_bytes",
    help: "Free space of the disk of the local registry."
  )

  /// Creates all metrics with the value 0.
  package init() {}

  /// All metrics in the order of the text form.
  package var all: [any Metric] {
    let reads: [any Metric] = [
      cacheReads, cacheReadBytes, networkReads, networkReadBytes, readWait, lookUpTime, opens, openFiles,
      waitingReads,
    ]
    let network: [any Metric] = [httpRequests, httpBytes, responses, retries, tokens, staleResolutions]
    let cache: [any Metric] = [
      activeBlobs, committedBlobs, badBlobs, badChunks, cacheUsed, cacheLimit, diskFree, evictedBlobs,
      evictedBytes,
      refusedSpace,
    ]
    return reads + network + cache + [failedOperations, errors, skippedStores, passthroughRefusals]
  }

  /// Counts a read that was answered at once.
  ///
  /// - Parameter count: Bytes.
  package func noteHit(_ count: Int) {
    cacheReads.add()
    cacheReadBytes.add(UInt64(count))
  }

  /// The text form of Prometheus' exposition format 0.0.4.
  package var text: String { all.map(\.text).joined() }
}
