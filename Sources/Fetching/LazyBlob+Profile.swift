import BlobCache
import Content
import LocalRegistry
import Logging
import OCI
import Locking

/// Applies and records access profiles: the reads of an earlier start are fetched in order, ahead of this
/// one.
extension LazyBlob {
  /// Whether reads are being recorded, so that all of them must reach the daemon.
  package var isRecording: Bool {
    guard let recording = state.withLock({ $0.use.recording }) else { return false }
    return store.isCurrent(recording, of: descriptor.digest)
  }

  /// Looks up the profile to apply, and whether to record one; called when the blob is opened.
  func prepareProfile() async {
    let needsLook = state.withLock { $0.use.takeProfileLook() }
    let profiles = AccessProfileStore(root: store.local.root)
    if await store.local.executor.ask({ profiles.isRecording(self.descriptor.digest) }) {
      startRecording(profiles)
    }
    store.local.executor.start {
      guard needsLook, self.store.policy.appliesProfiles, self.partial != nil,
        let profile = profiles.read(self.descriptor)
      else { return }
      let runs = profile.ranges.map { BlockMap.blocks(touching: $0, size: self.descriptor.size) }
      self.state.withLock { $0.demand.follow(runs) }
      self.fill()
    }
  }

  private func startRecording(_ profiles: AccessProfileStore) {
    let recording = store.recording(of: descriptor, profiles)
    state.withLock { $0.use.recording = recording }
  }
}
