import OCI
import Testing

@testable import ArtifactTree
@testable import Artifacts
@testable import Fetching
@testable import FileSystem

/// Values that hold a digest live in the frames of async functions, which release builds align to 16 bytes.
struct FileSystemAlignmentTests {
  private func check<Value>(_ type: Value.Type) {
    #expect(MemoryLayout<Value>.alignment <= 16, "\(type)")
  }

  @Test func noValueOfAFetchNeedsMoreAlignmentThanAnAsyncFrameHas() {
    check(LazyBlob.State.self)
    check(LazyBlob.State.Event.self)
    check(LazyBlob.State.Action.self)
    check(BlobVerifier.Outcome.self)
    check(BlobActivity.self)
  }

  @Test func noValueOfAnArtifactNeedsMoreAlignmentThanAnAsyncFrameHas() {
    check(ArtifactSource.self)
    check(ArtifactRecord.self)
    check(UnpackedSource.self)
    check(ReferenceResolver.Resolution.self)
    check(ReferenceResolver.Resolution?.self)
    check(ArtifactCheck.Event.self)
    check(LayerPlan.self)
    check(TarLayer.self)
    check(RawLayer.self)
  }

  @Test func noValueOfTheFileSystemNeedsMoreAlignmentThanAnAsyncFrameHas() {
    check(NameRules.Name.self)
    check(PathClassifier.Class.self)
    check(NodeTable.Key.self)
    check(FileNode.Key.self)
    check(FileNode.Home.self)
    check(OpenFileStatus.self)
  }
}
