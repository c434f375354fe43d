import Disk
import BlobCache
import Content
import LocalRegistry
import Logging
import OCI
import Locking
import SystemPackage
import Telemetry

/// From partial to complete, or to bad.
extension LazyBlob {
  /// Hashes what came, on threads of its own.
  ///
  /// - Parameter chunks: that became whole.
  func verify(_ chunks: [Int] = []) {
    guard case .partial(let blob, let verifier) = state.withLock({ $0.phase }) else { return }
    if let isProven = isProven(blob) {
      guard isProven else { return }
      store.keep(self)
      store.hashing.start {
        self.finish(blob, self.descriptor.digest, verifier)
        self.store.releaseIfIdle(self)
      }
      return
    }
    guard verifier.request(chunks) else { return }
    state.withLock { $0.isVerifying = true }
    store.keep(self)
    hash(blob, verifier)
  }

  /// Whether every chunk was held against a list that vouches for the whole; nil where no such list is used.
  private func isProven(_ blob: PartialBlob) -> Bool? {
    state.withLock { state in
      guard let chunks = state.chunks, chunks.list.isProof(of: descriptor.digest) else { return nil }
      return blob.isComplete && chunks.isVerified
    }
  }

  /// Hashes for a while, and again when others had their turn.
  private func hash(_ blob: PartialBlob, _ verifier: BlobVerifier) {
    let executor = descriptor.size <= store.policy.smallBlob ? store.hashingSmall : store.hashing
    executor.start {
      let outcome = verifier.run(
        { self.mayHash($0) },
        isHurried: { self.isHurried },
        { self.noteProgress() }
      )
      switch outcome {
      case .more:
        self.hash(blob, verifier)
        return
      case .incomplete: break
      case .failed(let error): self.failWhole(with: error)
      case .finished(let actual):
        self.finish(blob, actual, verifier)
      }
      self.state.withLock { $0.isVerifying = false }
      self.noteProgress()
      self.store.releaseIfIdle(self)
    }
  }

  // Bytes a second from which a core has no time for digests that may never be needed.
  private static let hurry: Double = 200e6

  /// Whether bytes come so fast that only the whole is hashed.
  private var isHurried: Bool {
    state.withLock({ $0.table.hasStartedFlights }) && store.scheduler.limit(of: link).rate > Self.hurry
  }

  /// Whether the bytes of a chunk that is there count: where a list is used, once it was held against that.
  private func mayHash(_ chunk: Int) -> Bool {
    state.withLock { $0.chunks?.covers(BlockMap.bytes(ofChunk: chunk, size: descriptor.size)) ?? true }
  }

  /// Keeps the list of a verified blob's chunks, behind everything else.
  private func keepChunkList(_ verifier: BlobVerifier) {
    guard case .complete(_, true) = state.withLock({ $0.phase }), state.withLock({ $0.chunks == nil }) else {
      return
    }
    store.foreign.start {
      // The file must be what was verified: who wrote to it since has changed its identity.
      guard let list = verifier.chunkList, self.completeFile?.isInPlace ?? false else { return }
      do throws(ContentError) {
        try self.store.lists.write(list, of: self.descriptor.digest)
      } catch {
        self.store.log.info(
          "the list of a blob's chunks was not kept",
          metadata: ["blob": "\(self.descriptor.digest)", "reason": "\(error)"]
        )
      }
    }
  }

  /// Hashes a blob whose bytes are all there, as an earlier process left them.
  func verifyIfWhole() {
    guard case .partial(let blob, _) = state.withLock({ $0.phase }), blob.isComplete else { return }
    store.chunking.start { self.checkInBulk(from: 0) }
    verify()
  }

  private func finish(_ blob: PartialBlob, _ actual: Digest, _ verifier: BlobVerifier) {
    // Two runs may come to the end; the first one's word stands.
    let isFirst = state.withLock { state in
      guard case .partial = state.phase, !state.isFinishing else { return false }
      state.isFinishing = true
      return true
    }
    guard isFirst else { return }
    defer { state.withLock { $0.isFinishing = false } }
    guard actual == descriptor.digest else {
      store.local.pool.discard(blob)
      turnBad(
        ContentError(
          .corrupt,
          "\(descriptor.digest)",
          host: state.withLock { $0.sources.first?.origin },
          "all bytes came, their digest is \(actual)",
          advice: "The registry or something on the way to it sends wrong bytes; the blob was thrown away"
        )
      )
      return
    }
    do throws(ContentError) {
      try store.local.pool.commit(blob)
      guard case .file(let file, true) = try store.local.pool.complete(descriptor) else {
        throw ContentError(.disk, "\(descriptor.digest)", "the committed blob is gone")
      }
      state.withLock { $0.phase = .complete(file, isVerified: true) }
      store.metrics.committedBlobs.add()
      // Before who waits for the whole is told: a command ends then.
      store.local.distribute(descriptor.digest)
      keepChunkList(verifier)
      answerReady()
      store.delegate?.blobBecameComplete(descriptor.digest)
      store.foreign.start { self.store.local.sealWhole(with: self.descriptor.digest) }
    } catch {
      store.log.error(
        "a verified blob cannot be committed; it is served as it lies",
        metadata: ["blob": "\(descriptor.digest)", "reason": "\(error)"]
      )
      guard let file = try? blob.asBlobFile() else {
        failAll(with: error)
        return
      }
      state.withLock { $0.phase = .complete(file, isVerified: true) }
      answerReady()
    }
  }

  /// In the order of design 5: readers refused, nodes marked, requests answered, pages taken out.
  private func turnBad(_ error: ContentError) {
    // Refused before it is bad, so that nobody opens it anew in between.
    // Of several sources the first is refused; whoever tells the truth starts anew.
    let origins = state.withLock { Set([$0.sources.first?.origin ?? error.host ?? "", error.host ?? ""]) }
    store.refuse(descriptor.digest, origins, error)
    store.lists.remove(descriptor.digest)
    state.withLock { $0.phase = .bad(error) }
    store.metrics.badBlobs.add()
    store.log.error(
      "a blob turned out wrong",
      metadata: [
        "file": "\(state.withLock { $0.formats.name(at: nil) } ?? "-")", "blob": "\(descriptor.digest)",
        "registry": "\(error.host ?? "-")", "reason": "\(error.reason)",
      ]
    )
    store.delegate?.blobTurnedBad(descriptor.digest)
    failAll(with: error)
    store.delegate?.pagesAreWrong(descriptor.digest)
    store.releaseIfIdle(self)
  }

  /// Hashes a file that weightfs did not write, once.
  func checkForeign() {
    let file: BlobFile? = state.withLock { state in
      guard case .complete(let file, false) = state.phase, !state.isVerifying else { return nil }
      state.isVerifying = true
      return file
    }
    guard let file else { return }
    store.keep(self)
    store.foreign.start {
      do throws(Errno) {
        let actual = try file.digest(self.descriptor.digest.algorithm) { _ in self.noteProgress() }
        self.judge(file, actual)
      } catch {
        self.failWhole(with: ContentError(.disk, "\(file.path)", "\(error)"))
      }
      self.state.withLock { $0.isVerifying = false }
      self.store.releaseIfIdle(self)
    }
  }

  private func judge(_ file: BlobFile, _ actual: Digest) {
    if actual == descriptor.digest {
      // What cannot be noted is hashed again next time; that is all.
      try? store.local.pool.noteVerified(file, actual)
      state.withLock { $0.phase = .complete(file, isVerified: true) }
      answerReady()
      return
    }
    store.noteBadFile(file.identity)
    store.local.removeLinks(of: descriptor.digest, to: file.identity)
    store.local.pool.reject(file, descriptor.digest)
    turnBad(
      ContentError(
        .corrupt,
        "\(descriptor.digest)",
        host: file.path.string,
        "the file's digest is \(actual)",
        advice: "Repair or remove the layout or store that has it"
      )
    )
  }
}
