import Telemetry
import Testing

struct MetricsTests {
  @Test func textNamesEachCounterOnceWithItsValue() {
    let metrics = Metrics()
    metrics.badBlobs.add()
    metrics.httpBytes.add(41)
    metrics.httpBytes.add()
    let lines = metrics.text.split(separator: "\n")
    #expect(lines.contains("weightfs_bad_blobs_total 1"))
    #expect(lines.contains("weightfs_http_body_bytes_total 42"))
    #expect(Set(metrics.all.map(\.name)).count == metrics.all.count)
    #expect(lines.filter { $0.hasPrefix("# TYPE") }.count == metrics.all.count)
  }
}
