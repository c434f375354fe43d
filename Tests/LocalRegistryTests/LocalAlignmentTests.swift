import OCI
import Testing

@testable import BlobCache
@testable import Layouts
@testable import LocalRegistry
@testable import Stores

/// Values that hold a digest live in the frames of async functions, which release builds align to 16 bytes.
struct LocalAlignmentTests {
  private func check<Value>(_ type: Value.Type) {
    #expect(MemoryLayout<Value>.alignment <= 16, "\(type)")
  }

  @Test func noValueOfTheBlobCacheNeedsMoreAlignmentThanAnAsyncFrameHas() {
    check(EvictionPlan.Candidate.self)
    check(MaterializedFiles.Part.self)
    check(AccessProfile.self)
    check(OriginRecord.self)
    check(UnpackedRecord.self)
    check(BlobPool.Complete.self)
  }

  @Test func noValueOfALayoutOrAStoreNeedsMoreAlignmentThanAnAsyncFrameHas() {
    check(ArtifactContents.self)
    check(LayoutEntry.self)
    check(LayoutSource.Entry.self)
    check(LocalArtifact.self)
    check(LocalArtifact?.self)
    check(BlobExamination.self)
    check(LayoutWriter.self)
    check(CollectionReport.self)
  }
}
