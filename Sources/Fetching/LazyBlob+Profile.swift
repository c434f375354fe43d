import Content
import LocalRegistry
import Logging
import OCI
import Synchronization

/// Access profiles: what an earlier start read is fetched in its order ahead of this one.
extension LazyBlob {
  private static let recordingInterval: Duration = .milliseconds(500)

  /// Whether reads are being recorded, so that all of them must come to the daemon.
  package var isRecording: Bool { state.withLock { $0.recorder != nil } }

  /// Whether bytes may still have to be fetched.
  var isPartial: Bool {
    state.withLock { state in
      if case .partial = state.phase { true } else { false }
    }
  }

  /// Looks for a profile to go by, and whether one is to be made; called when the blob is opened.
  func prepareProfile() {
    let needsLook = state.withLock { state in
      defer { state.hasLookedForProfile = true }
      return !state.hasLookedForProfile
    }
    let profiles = AccessProfileStore(root: store.local.root)
    store.local.executor.start {
      if profiles.isRecording(self.descriptor.digest) { self.startRecording(profiles) }
      guard needsLook, self.isPartial, let profile = profiles.read(self.descriptor) else { return }
      self.state.withLock { state in
        state.profile = profile.ranges.map { BlockMap.blocks(touching: $0, size: self.descriptor.size) }
      }
      self.fill()
    }
  }

  private func startRecording(_ profiles: AccessProfileStore) {
    let isFirst = state.withLock { state in
      guard state.recorder == nil else { return false }
      state.recorder = AccessRecorder(blobSize: descriptor.size)
      return true
    }
    guard isFirst else { return }
    let executor = store.local.executor
    Task { [weak self] in
      var written: [Range<Int>] = []
      while true {
        try? await Task.sleep(for: Self.recordingInterval)
        guard let blob = self, let runs = blob.state.withLock({ $0.recorder?.runs }) else { return }
        let descriptor = blob.descriptor
        if runs != written, !runs.isEmpty {
          written = runs
          executor.start {
            // One that cannot be written is not there; the next half second tries again.
            try? profiles.write(AccessProfile(descriptor, runs: runs))
          }
        }
        let goesOn = try? await executor.run { profiles.isRecording(descriptor.digest) }
        if goesOn != true { blob.state.withLock { $0.recorder = nil } }
      }
    }
  }
}
