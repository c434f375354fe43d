import BlobCache
import Content
import LocalRegistry
import Logging
import OCI
import Locking

/// Access profiles: what an earlier start read is fetched in its order ahead of this one.
extension LazyBlob {
  /// Whether reads are being recorded, so that all of them must come to the daemon.
  package var isRecording: Bool {
    guard let recording = state.withLock({ $0.recording }) else { return false }
    return store.isCurrent(recording, of: descriptor.digest)
  }

  /// Whether bytes may still have to be fetched.
  var isPartial: Bool {
    state.withLock { state in
      if case .partial = state.phase { true } else { false }
    }
  }

  /// Looks for a profile to go by, and whether one is to be made; called when the blob is opened.
  func prepareProfile() async {
    let needsLook = state.withLock { state in
      defer { state.hasLookedForProfile = true }
      return !state.hasLookedForProfile
    }
    let profiles = AccessProfileStore(root: store.local.root)
    if await store.local.executor.ask({ profiles.isRecording(self.descriptor.digest) }) {
      startRecording(profiles)
    }
    store.local.executor.start {
      guard needsLook, self.store.policy.appliesProfiles, self.isPartial,
        let profile = profiles.read(self.descriptor)
      else { return }
      self.state.withLock { state in
        state.profile = profile.ranges.map { BlockMap.blocks(touching: $0, size: self.descriptor.size) }
      }
      self.fill()
    }
  }

  private func startRecording(_ profiles: AccessProfileStore) {
    let recording = store.recording(of: descriptor, profiles)
    state.withLock { $0.recording = recording }
  }
}
