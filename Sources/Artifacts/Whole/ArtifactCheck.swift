import Layouts
import Stores
package import Disk
package import Content
import Fetching
import Glibc
package import LocalRegistry
package import OCI
import Locking

/// Verifies artifacts one after another, and mends them where that was asked for.
package final class ArtifactCheck: Sendable {
  private let assembly: Assembly
  private let repairs: Bool
  private let limit: RateLimit?
  private let show: ShowWork
  private let report: @Sendable (Reference, Event) -> Void
  /// Files that were read already, for another artifact, and whether they were right.
  private let known = Mutex<[Place: Bool]>([:])

  private struct Place: Hashable {
    let file: FileIdentity
    let offset: Int64
  }

  /// What was found and done.
  package enum Event: Sendable {
    /// A blob is wrong; an earlier artifact's event told of it.
    case damagedAsBefore(Digest)
    /// A blob is wrong, and where.
    case damaged(Descriptor, BlobFile, BlobExamination)
    /// Its copy was replaced by the blob that the local registry has.
    case mendedFromPool
    /// Its wrong bytes were fetched from a registry.
    case mended(bytes: Int64, origin: String)
    /// It lies in a store that weightfs does not write to.
    case isInReadOnlyStore(BlobFile)
    /// It could not be mended; the file is at another place now, where it could be moved.
    case notMended(Digest, reason: String, movedTo: String?)
    /// The artifact was made here, and lacks blobs.
    case lacks([Descriptor])
    /// All of the artifact that is here is right; after repair where something was mended.
    case right(bytes: Int64, missing: Int, isMended: Bool)
  }

  /// Prepares verification.
  ///
  /// - Parameters:
  ///   - assembly: the parts that read and fetch.
  ///   - repairs: whether wrong bytes are fetched again.
  ///   - rate: the most that is read, bytes a second; nil for no limit.
  ///   - show: begins the display of the progress.
  ///   - report: called for each thing that was found or done, in order.
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
  /// - Returns: whether all of it is right now, as far as it is here.
  /// - Throws: `ContentError` where it cannot be looked at.
  package func run(_ reference: Reference) async throws(ContentError) -> Bool {
    let artifact = try await local.here(reference)
    let local = local
    let (present, missing) = try await local.executor.run { () throws(ContentError) in
      try local.files(of: artifact)
    }
    let total = present.reduce(0) { $0 + $1.descriptor.size }
    let done = ByteTally()
    let display = show(Work(label: "\(reference)", total: total, missing: total) { done.value })
    var damaged: [(Descriptor, BlobFile, BlobExamination)] = []
    var failure: ContentError?
    var isClean = true
    for (descriptor, file) in present {
      let place = Place(file: file.identity, offset: file.offset)
      if let isRight = known.withLock({ $0[place] }) {
        isClean = isClean && isRight
        if !isRight { report(reference, .damagedAsBefore(descriptor.digest)) }
        done.add(file.size)
        continue
      }
      do throws(ContentError) {
        let limit = limit
        let found = try await local.executor.run { () throws(ContentError) in
          try local.examine(file, descriptor) { count in
            done.add(count)
            limit?.wait(for: count)
          }
        }
        known.withLock { $0[place] = found.isIntact }
        if !found.isIntact { damaged.append((descriptor, file, found)) }
      } catch {
        failure = failure ?? error
      }
    }
    await display.end()
    for (descriptor, file, found) in damaged {
      report(reference, .damaged(descriptor, file, found))
      let isMended = repairs ? await mend(reference, artifact, descriptor, file, found) : false
      if isMended { known.withLock { $0[Place(file: file.identity, offset: file.offset)] = true } }
      isClean = isClean && isMended
    }
    if repairs, !damaged.isEmpty, isClean, artifact.repository.format == .archive {
      try await rewrite(reference, artifact)
    }
    if let failure { throw failure }
    if isClean, !missing.isEmpty, !artifact.wasFetched {
      // What was loaded or built here is not fetched by itself.
      report(reference, .lacks(missing))
      return false
    }
    if isClean {
      report(reference, .right(bytes: total, missing: missing.count, isMended: !damaged.isEmpty))
    }
    return isClean
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
      // An archive is written anew with what the pool has right.
      if artifact.repository.format == .archive { return local.hasVerified(descriptor) }
      return try local.replaceCopy(file, descriptor, of: artifact)
    }
    if isReplaced ?? false {
      report(reference, .mendedFromPool)
      return true
    }
    var reason = "weightfs is offline"
    if !assembly.settings.resolution.isOffline {
      do throws(ContentError) {
        let source = try await source(of: descriptor, found, reference)
        if artifact.repository.format != .archive {
          try await local.executor.run { () throws(ContentError) in
            local.claim(descriptor, for: reference)
          }
        }
        let blob = try await assembly.store.repair(file, descriptor, damage: found.damage, from: source)
        let bytes = found.damage.reduce(0) { $0 + Int64($1.count) }
        report(reference, .mended(bytes: bytes, origin: source.origin))
        await assembly.store.settle()
        _ = try await local.executor.run { () throws(ContentError) in
          try local.replaceCopy(file, descriptor, of: artifact)
        }
        withExtendedLifetime(blob) {}
        return true
      } catch {
        reason = "\(error)"
      }
    }
    let digest = descriptor.digest
    let aside = try? await local.executor.run { () throws(ContentError) in try local.setAside(file, digest) }
    report(
      reference,
      .notMended(digest, reason: reason, movedTo: aside.flatMap { $0 }.map { "\($0)" })
    )
    return false
  }

  /// A repository that has the blob: the artifact's own, or that of another which has it too.
  ///
  /// Each is asked for a byte before anything is touched: what cannot be had is better whole and aside than in parts.
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
    throw failure ?? ContentError(.notFound, "\(descriptor.digest)", "no registry is known to have it")
  }

  /// Writes an archive anew from what was mended in the pool and what was right in it.
  private func rewrite(_ reference: Reference, _ artifact: LocalArtifact) async throws(ContentError) {
    let local = local
    try await local.executor.run { () throws(ContentError) in
      let count = try artifact.repository.index().manifests.count
      guard count <= 1 else {
        throw ContentError(
          .unsupported,
          "\(artifact.repository.origin)",
          "holds \(count) artifacts: what was mended is in the local registry's blobs, and the archive stays as it is"
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
