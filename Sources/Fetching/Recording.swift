import BlobCache
import Content
import LocalRegistry
import OCI
import Locking

/// Records the reads of a blob, from its first open until recording is switched off, even if the blob is
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

  /// Writes the recorded reads periodically, until recording is switched off.
  func run(on executor: BlockingExecutor) async {
    var written: [Range<Int>] = []
    while true {
      try? await Task.sleep(for: Self.interval)
      let runs = recorder.withLock { $0.runs }
      if runs != written, !runs.isEmpty {
        // A profile that cannot be written now is written with the next reads.
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
