import BlobCache
import Content
import Disk
import LocalRegistry
import Locking
import Logging
import OCI
import SystemPackage
import Telemetry

/// Makes a partial blob complete or bad: performs the actions of `BlobState`.
extension LazyBlob {
  /// Hashes the present chunks, on threads of its own.
  ///
  /// - Parameter chunks: The chunks that became complete.
  func verify(_ chunks: [Int] = []) {
    let (content, isProven) = state.withLock { ($0.blob.partial, $0.blob.isProven) }
    guard let content else { return }
    if let isProven {
      guard isProven else { return }
      store.keep(self)
      store.hashing.start {
        self.handle(.hashed(self.descriptor.digest))
        self.store.releaseIfIdle(self)
      }
      return
    }
    guard content.verifier.request(chunks) else { return }
    state.withLock { $0.blob.isHashing = true }
    store.keep(self)
    hash(content)
  }

  /// Hashes for one turn, and again after other blobs had their turn.
  private func hash(_ content: PartialContent) {
    let executor = descriptor.size <= store.policy.smallBlob ? store.hashingSmall : store.hashing
    executor.start {
      let outcome = content.verifier.run(
        { self.mayHash($0) },
        isHurried: { self.isHurried },
        { self.noteProgress() }
      )
      switch outcome {
      case .more:
        self.hash(content)
        return
      case .incomplete: break
      case .failed(let error): self.handle(.waitFailed(error, onlyForAllBytes: true))
      case .finished(let actual): self.handle(.hashed(actual))
      }
      self.state.withLock { $0.blob.isHashing = false }
      self.noteProgress()
      self.store.releaseIfIdle(self)
    }
  }

  // The rate in bytes per second above which digests that may never be needed are omitted.
  private static let hurry: Double = 200e6

  /// Whether bytes arrive so fast that only the contiguous front is hashed.
  private var isHurried: Bool {
    state.withLock({ $0.demand.table.hasStartedFlights }) && store.scheduler.limit(of: link).rate > Self.hurry
  }

  /// Returns whether the bytes of a present chunk count: if a list is in use, after the chunk was compared
  /// with it.
  private func mayHash(_ chunk: Int) -> Bool {
    state.withLock { $0.blob.chunks?.covers(BlockMap.bytes(ofChunk: chunk, size: descriptor.size)) ?? true }
  }

  /// Hashes a blob whose bytes are all present, such as one from an earlier process.
  func verifyIfWhole() {
    guard let content = partial, content.isComplete else { return }
    store.chunking.start { self.checkInBulk(from: 0) }
    verify()
  }

  // MARK: Right bytes

  func commit(_ content: PartialContent) {
    do throws(ContentError) {
      try store.local.pool.commit(content.blob)
      guard case .file(let file, true) = try store.local.pool.complete(descriptor) else {
        throw ContentError(.disk, "\(descriptor.digest)", "the committed blob was removed")
      }
      handle(.committed(file))
    } catch {
      store.log.error(
        "a verified blob cannot be committed; its partial file is served",
        metadata: ["blob": "\(descriptor.digest)", "reason": "\(error)"]
      )
      // Without the file no bytes can be served, and the waiters fail with the error above.
      handle(.commitFailed(error, file: try? content.blob.asBlobFile()))
    }
  }

  /// Runs before waiters for all bytes are answered: a command then exits as soon as the work in
  /// `store.foreign` is done.
  func distribute(_ content: PartialContent) {
    store.metrics.committedBlobs.add()
    store.local.distribute(descriptor.digest)
    if state.withLock({ $0.blob.chunks == nil }) { keepChunkList(content.verifier) }
  }

  func announce() {
    store.delegate?.blobBecameComplete(descriptor.digest)
    store.foreign.start { self.store.local.sealWhole(with: self.descriptor.digest) }
  }

  /// Stores the chunk list of a verified blob, after all other work.
  private func keepChunkList(_ verifier: BlobVerifier) {
    store.foreign.start {
      // The file must be the verified one: a program that wrote to it since has changed its identity.
      guard let list = verifier.chunkList, self.completeFile?.isInPlace ?? false else { return }
      do throws(ContentError) {
        try self.store.lists.write(list, of: self.descriptor.digest)
      } catch {
        self.store.log.info(
          "the chunk list of a blob was not stored",
          metadata: ["blob": "\(self.descriptor.digest)", "reason": "\(error)"]
        )
      }
    }
  }

  // MARK: Files of other programs

  /// Hashes a file that weightfs did not write.
  func hash(_ file: BlobFile) {
    store.keep(self)
    store.foreign.start {
      do throws(Errno) {
        let actual = try file.digest(self.descriptor.digest.algorithm) { _ in self.noteProgress() }
        self.handle(.hashed(actual))
      } catch {
        self.handle(.hashFailed(ContentError(.disk, "\(file.path)", "\(error)", underlying: error)))
      }
      self.store.releaseIfIdle(self)
    }
  }

  func noteVerified(_ file: BlobFile) {
    do {
      try store.local.pool.noteVerified(file, descriptor.digest)
    } catch {
      store.log.debug(
        "the verification of a file could not be recorded; it is hashed again at its next use",
        metadata: ["path": "\(file.path)", "reason": "\(error)"]
      )
    }
  }

  // MARK: Wrong bytes

  func discard(_ content: PartialContent, _ actual: Digest) {
    store.local.pool.discard(content.blob)
    condemn(
      ContentError(
        .corrupt,
        "\(descriptor.digest)",
        host: origin,
        "all bytes arrived, but their digest is \(actual)",
        advice: "The registry or a proxy on the way to it sends wrong bytes; the blob was discarded"
      )
    )
  }

  func reject(_ file: BlobFile, _ actual: Digest) {
    store.noteBadFile(file.identity)
    store.local.removeLinks(of: descriptor.digest, to: file.identity)
    store.local.pool.reject(file, descriptor.digest)
    condemn(
      ContentError(
        .corrupt,
        "\(descriptor.digest)",
        host: file.path.string,
        "the file's digest is \(actual)",
        advice: "Repair or remove the layout or store that has it"
      )
    )
  }

  /// Condemns the blob in the order of design 5: sources refused, nodes marked, waiters failed, pages
  /// dropped.
  private func condemn(_ error: ContentError) {
    // The blob is refused before it is marked bad, so that no reader opens it again in between. Of several
    // sources the first is refused; a source that sends the right bytes starts again.
    store.refuse(descriptor.digest, Set([origin ?? error.host ?? "", error.host ?? ""]), error)
    store.lists.remove(descriptor.digest)
    handle(.condemned(error))
  }

  func markBad(_ error: ContentError) {
    store.metrics.badBlobs.add()
    store.log.error(
      "a blob turned out wrong",
      metadata: [
        "file": "\(fileName(at: nil))", "blob": "\(descriptor.digest)", "registry": "\(error.host ?? "-")",
        "reason": "\(error.reason)",
      ]
    )
    store.delegate?.blobTurnedBad(descriptor.digest)
  }

  func dropPages() {
    store.delegate?.pagesAreWrong(descriptor.digest)
    store.releaseIfIdle(self)
  }
}
