import BlobCache
import Content
import LocalRegistry
import OCI
import Locking

/// The recording of a blob's reads: it lasts from the first open until it is switched off, however often the blob is
/// closed and opened in between.
final class Recording: Sendable {
  let blob: Descriptor
  private let profiles: AccessProfileStore
  private let recorder: Mutex<AccessRecorder>

  private static let interval: Duration = .milliseconds(500)

  init(_ blob: Descriptor, _ profiles: AccessProfileStore) {
    self.blob = blob
    self.profiles = profiles
    recorder = Mutex(AccessRecorder(blobSize: blob.size))
  }

  func note(_ range: Range<Int64>) { recorder.withLock { $0.note(range) } }

  /// Writes what was read now and then, until the recording is switched off.
  func run(on executor: BlockingExecutor) async {
    var written: [Range<Int>] = []
    while true {
      try? await Task.sleep(for: Self.interval)
      let runs = recorder.withLock { $0.runs }
      if runs != written, !runs.isEmpty {
        // One that cannot be written now is tried again with the next reads.
        try? await executor.run { () throws(ContentError) in
          try self.profiles.write(AccessProfile(self.blob, runs: runs))
        }
        written = runs
      }
      let goesOn = try? await executor.run { () throws(ContentError) in
        self.profiles.isRecording(self.blob.digest)
      }
      if goesOn != true { return }
    }
  }
}
