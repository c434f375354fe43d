import Content
import Hashing
import LocalRegistry
import Logging
import OCI
import Synchronization
import SystemPackage
import Telemetry

/// From partial to complete, or to bad.
extension LazyBlob {
  /// Hashes what came, on the disk's threads.
  func verify() {
    guard case .partial(let blob, let verifier) = state.withLock({ $0.phase }) else { return }
    guard verifier.request() else { return }
    store.hashing.start {
      switch verifier.run() {
      case .incomplete: break
      case .failed(let error): self.failAll(with: error)
      case .finished(let actual): self.finish(blob, actual)
      }
    }
  }

  private func finish(_ blob: PartialBlob, _ actual: Digest) {
    guard actual == descriptor.digest else {
      blob.discardWhole(in: store.local.pool)
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
      guard let file = try store.local.pool.complete(descriptor) else {
        throw ContentError(.disk, "\(descriptor.digest)", "the committed blob is gone")
      }
      state.withLock { $0.phase = .complete(file, isVerified: true) }
      store.metrics.committedBlobs.add()
      store.local.distribute(descriptor.digest)
      answerReady()
    } catch {
      store.log.error(
        "a blob cannot be committed",
        metadata: ["blob": "\(descriptor.digest)", "reason": "\(error)"]
      )
      failAll(with: error)
    }
    store.releaseIfIdle(self)
  }

  /// In the order of design 5: readers refused, nodes marked, requests answered, pages taken out.
  private func turnBad(_ error: ContentError) {
    state.withLock { $0.phase = .bad(error) }
    store.metrics.badBlobs.add()
    store.log.error(
      "a blob turned out wrong",
      metadata: [
        "blob": "\(descriptor.digest)", "registry": "\(error.host ?? "-")", "reason": "\(error.reason)",
      ]
    )
    store.refuse(descriptor.digest, error)
    store.delegate?.blobTurnedBad(descriptor.digest)
    failAll(with: error)
    store.delegate?.pagesAreWrong(descriptor.digest)
    store.releaseIfIdle(self)
  }

  /// Hashes a file that weightfs did not write, once.
  func checkForeign() {
    let file: BlobFile? = state.withLock { state in
      guard case .complete(let file, false) = state.phase, !state.isForeignChecked else { return nil }
      state.isForeignChecked = true
      return file
    }
    guard let file else { return }
    store.keep(self)
    store.hashing.start {
      do throws(Errno) {
        let actual = try Self.digest(of: file, self.descriptor.digest.algorithm) { self.noteProgress() }
        if actual == self.descriptor.digest {
          // A store that cannot be noted is hashed again next time; that is all.
          try? VerificationRecords(root: self.store.local.root).record(file, actual)
          self.state.withLock { $0.phase = .complete(file, isVerified: true) }
          self.answerReady()
        } else {
          self.turnBad(
            ContentError(
              .corrupt,
              "\(self.descriptor.digest)",
              host: file.path.string,
              "the file's digest is \(actual)",
              advice: "Repair or remove the layout or store that has it"
            )
          )
        }
      } catch {
        self.failAll(with: ContentError(.disk, "\(file.path)", "\(error)"))
      }
      self.store.releaseIfIdle(self)
    }
  }

  private static func digest(
    of file: BlobFile,
    _ algorithm: Digest.Algorithm,
    progress: () -> Void
  ) throws(Errno) -> Digest {
    var stream = HashStream(algorithm)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    var position: Int64 = 0
    while position < file.size {
      let count = try file.read(into: buffer, at: position)
      guard count > 0 else { throw Errno.ioError }
      stream.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      position += Int64(count)
      progress()
    }
    return stream.finish()
  }
}

extension PartialBlob {
  fileprivate func discardWhole(in pool: BlobPool) { pool.discard(self) }
}
