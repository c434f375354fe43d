import Layouts
import Stores
package import Disk
package import Content
import Fetching
import Glibc
package import LocalRegistry
package import OCI
import Locking

/// Verifies artifacts one after another, and optionally repairs them.
package final class ArtifactCheck: Sendable {
  private let assembly: Assembly
  private let repairs: Bool
  private let limit: RateLimit?
  private let show: ShowWork
  private let report: @Sendable (Reference, Event) -> Void
  /// The results for files that were already read for another artifact.
  private let known = Mutex<[Place: Bool]>([:])

  private struct Place: Hashable {
    let file: FileIdentity
    let offset: Int64
  }

  /// A result or an action.
  package enum Event: Sendable {
    /// A blob is damaged, as already reported for an earlier artifact.
    case damagedAsBefore(Digest)
    /// A blob is damaged, in the given ranges.
    case damaged(Descriptor, BlobFile, BlobExamination)
    /// A layout's copy was replaced with the blob of the local registry.
    case mendedFromPool
    /// The wrong bytes were fetched again from a registry.
    case mended(bytes: Int64, origin: String)
    /// The damaged blob is in a store that weightfs does not write to.
    case isInReadOnlyStore(BlobFile)
    /// The blob could not be repaired; if possible, the file was moved to the given path.
    case notMended(Digest, reason: String, movedTo: String?)
    /// The artifact is final, and lacks blobs.
    case lacks([Descriptor])
    /// All present bytes of the artifact are intact, possibly after a repair.
    case right(bytes: Int64, missing: Int, isMended: Bool)
  }

  /// Prepares a verification.
  ///
  /// - Parameters:
  ///   - assembly: The components that read and fetch.
  ///   - repairs: Whether wrong bytes are fetched again.
  ///   - rate: The maximum read rate in bytes per second; nil for no limit.
  ///   - show: Starts the progress display.
  ///   - report: Called for each event, in order.
  package init(
    assembly: Assembly,
    repairs: Bool,
    rate: Int64?,
    show: @escaping ShowWork,
    report: @escaping @Sendable (Reference, Event) -> Void
  ) {
    self.show = show
    self.report = report
    self.assembly = assembly
    self.repairs = repairs
    limit = rate.map { RateLimit(bytesPerSecond: $0) }
  }

  private var local: LocalRegistry { assembly.local }

  /// Verifies an artifact.
  ///
  /// - Returns: Whether all of its present bytes are intact now.
  /// - Throws: `ContentError` if the artifact cannot be read.
  package func run(_ reference: Reference) async throws(ContentError) -> Bool {
    let artifact = try await local.here(reference)
    let local = local
    let (present, missing) = try await local.executor.run { () throws(ContentError) in
      try local.files(of: artifact)
    }
    let total = present.reduce(0) { $0 + $1.descriptor.size }
    let done = ByteTally()
    let display = show(Work(label: "\(reference)", total: total, missing: total) { done.value })
    let examined = await examine(reference, present, done)
    await display.end()
    let damaged = examined.damaged
    var isClean = examined.isClean
    for (descriptor, file, found) in damaged {
      report(reference, .damaged(descriptor, file, found))
      let isMended = repairs ? await mend(reference, artifact, descriptor, file, found) : false
      if isMended { known.withLock { $0[Place(file: file.identity, offset: file.offset)] = true } }
      isClean = isClean && isMended
    }
    if repairs, !damaged.isEmpty, isClean, artifact.repository.format == .archive {
      try await rewrite(reference, artifact)
    }
    if let failure = examined.failure { throw failure }
    if isClean, !missing.isEmpty, !artifact.wasFetched {
      // A loaded or built artifact is not fetched automatically.
      report(reference, .lacks(missing))
      return false
    }
    if isClean {
      report(reference, .right(bytes: total, missing: missing.count, isMended: !damaged.isEmpty))
    }
    return isClean
  }

  /// The result of hashing the files of an artifact.
  private struct Examined {
    var damaged: [(Descriptor, BlobFile, BlobExamination)] = []
    /// The first file that could not be read.
    var failure: ContentError?
    /// No file is known as damaged from an earlier artifact.
    var isClean = true
  }

  private func examine(
    _ reference: Reference,
    _ present: [(descriptor: Descriptor, file: BlobFile)],
    _ done: ByteTally
  ) async -> Examined {
    var examined = Examined()
    let (local, limit) = (local, limit)
    for (descriptor, file) in present {
      let place = Place(file: file.identity, offset: file.offset)
      if let isRight = known.withLock({ $0[place] }) {
        examined.isClean = examined.isClean && isRight
        if !isRight { report(reference, .damagedAsBefore(descriptor.digest)) }
        done.add(file.size)
        continue
      }
      do throws(ContentError) {
        let found = try await local.executor.run { () throws(ContentError) in
          try local.examine(file, descriptor) { count in
            done.add(count)
            limit?.wait(for: count)
          }
        }
        known.withLock { $0[place] = found.isIntact }
        if !found.isIntact { examined.damaged.append((descriptor, file, found)) }
      } catch {
        examined.failure = examined.failure ?? error
      }
    }
    return examined
  }

  private func mend(
    _ reference: Reference,
    _ artifact: LocalArtifact,
    _ descriptor: Descriptor,
    _ file: BlobFile,
    _ found: BlobExamination
  ) async -> Bool {
    guard !artifact.isAdditional else {
      report(reference, .isInReadOnlyStore(file))
      return false
    }
    let local = local
    let isReplaced = try? await local.executor.run { () throws(ContentError) in
      // The archive is written again later, with the intact blob of the pool.
      if artifact.repository.format == .archive { return local.hasVerified(descriptor) }
      return try local.replaceCopy(file, descriptor, of: artifact)
    }
    if isReplaced ?? false {
      report(reference, .mendedFromPool)
      return true
    }
    let reason: String
    do throws(ContentError) {
      try await fetchDamage(reference, artifact, descriptor, file, found)
      return true
    } catch {
      reason = error.code == .offline ? "weightfs is offline" : "\(error)"
    }
    let digest = descriptor.digest
    let aside = try? await local.executor.run { () throws(ContentError) in try local.setAside(file, digest) }
    report(
      reference,
      .notMended(digest, reason: reason, movedTo: aside.flatMap { $0 }.map { "\($0)" })
    )
    return false
  }

  /// Fetches the damaged bytes of a blob, and replaces the copy of the artifact.
  private func fetchDamage(
    _ reference: Reference,
    _ artifact: LocalArtifact,
    _ descriptor: Descriptor,
    _ file: BlobFile,
    _ found: BlobExamination
  ) async throws(ContentError) {
    guard !assembly.settings.resolution.isOffline else {
      throw ContentError(.offline, "\(descriptor.digest)", "weightfs is offline")
    }
    let local = local
    let source = try await source(of: descriptor, found, reference)
    if artifact.repository.format != .archive {
      try await local.executor.run { () throws(ContentError) in local.claim(descriptor, for: reference) }
    }
    let blob = try await assembly.store.repair(file, descriptor, damage: found.damage, from: source)
    let bytes = found.damage.reduce(0) { $0 + Int64($1.count) }
    report(reference, .mended(bytes: bytes, origin: source.origin))
    await assembly.store.settle()
    _ = try await local.executor.run { () throws(ContentError) in
      try local.replaceCopy(file, descriptor, of: artifact)
    }
    withExtendedLifetime(blob) {}
  }

  /// Returns a repository that has the blob: the artifact's own, or that of another artifact with the blob.
  ///
  /// Fetches one byte from each before a file is changed: if no repository has the blob, the damaged file is
  /// kept as it is.
  private func source(
    of descriptor: Descriptor,
    _ found: BlobExamination,
    _ reference: Reference
  ) async throws(ContentError) -> any Repository {
    let local = local
    let others = await local.executor.ask { local.holders(of: descriptor.digest) }
    var failure: ContentError?
    var asked: Set<RepositoryName> = []
    for name in [reference.repository] + others.map(\.repository) where asked.insert(name).inserted {
      let source = assembly.remote.repository(name)
      let first = found.damage.first?.lowerBound ?? 0
      do throws(ContentError) {
        _ = try await source.bytes(of: descriptor, range: first..<first + 1)
        return source
      } catch {
        failure = failure ?? error
      }
    }
    throw failure ?? ContentError(.notFound, "\(descriptor.digest)", "no known registry has the blob")
  }

  /// Writes an archive again from its intact blobs and the repaired blobs of the pool.
  private func rewrite(_ reference: Reference, _ artifact: LocalArtifact) async throws(ContentError) {
    let local = local
    try await local.executor.run { () throws(ContentError) in
      let count = try artifact.repository.index().manifests.count
      guard count <= 1 else {
        throw ContentError(
          .unsupported,
          "\(artifact.repository.origin)",
          "has \(count) artifacts: repaired blobs are in the local registry, the archive is unchanged"
        )
      }
      let contents = try local.contents(of: artifact)
      try local.put(
        contents,
        as: reference,
        format: .archive,
        isFetched: artifact.wasFetched,
        expected: artifact
      )
    }
  }
}
