import Fetching
import MountDaemon
import Testing

struct ReadaheadTests {
  /// Half of a window before and half behind a fault touch at most two blocks of 64 KiB.
  @Test func withDemandAFaultTouchesTwoBlocks() {
    #expect(Readahead.bytes(.demand) <= 64 << 10)
    #expect(Readahead.bytes(.background) > Readahead.bytes(.demand))
    for fill in FetchPolicy.Fill.allCases { #expect(Readahead.bytes(fill).isMultiple(of: 4096)) }
  }
}
