/// Every metric of the program, by name.
///
/// One place, so that a reader of `docs/metrics.md` finds each name in one file.
package struct Metrics: Sendable {
  package let httpRequests = Counter(
    name: "weightfs_http_requests_total",
    help: "HTTP requests sent to registries and what they redirect to."
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
    help: "Times a last known tag resolution stood in for a registry that did not answer."
  )
  package let failedOperations = Counter(
    name: "weightfs_failed_operations_total",
    help: "File system operations that ended with an error other than not found."
  )
  package let skippedStores = Counter(
    name: "weightfs_skipped_stores_total",
    help: "Times an additional store could not be read and was passed over."
  )

  package let passthroughRefusals = Counter(
    name: "weightfs_passthrough_refusals_total",
    help: "Times the kernel refused a file for passthrough, so that the daemon serves it."
  )

  package let badChunks = Counter(
    name: "weightfs_bad_chunks_total",
    help: "Chunks that came with bytes other than their trusted digest says."
  )

  package let evictedBlobs = Counter(
    name: "weightfs_evicted_blobs_total",
    help: "Blobs and partial blobs that went to make room."
  )
  package let evictedBytes = Counter(
    name: "weightfs_evicted_bytes_total",
    help: "Bytes that they had on the disk."
  )
  package let refusedSpace = Counter(
    name: "weightfs_refused_space_total",
    help: "Times there was no room in the limits, so that bytes were served without being kept."
  )

  /// Makes every metric at zero.
  package init() {}

  /// All of them, in the order of the text form.
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
