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

  /// Creates all metrics with the value 0.
  package init() {}

  /// All metrics in the order of the text form.
  package var all: [Counter] {
    [
      httpRequests, httpBytes, badBlobs, committedBlobs, staleResolutions, failedOperations, skippedStores,
      passthroughRefusals, badChunks, evictedBlobs, evictedBytes, refusedSpace,
    ]
  }

  /// The text form of Prometheus' exposition format 0.0.4.
  package var text: String {
    all.map { "# HELP \($0.name) \($0.help)\n# TYPE \($0.name) counter\n\($0.name) \($0.value)\n" }.joined()
  }
}
