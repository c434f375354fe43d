import Layouts
import Stores
import Disk
import Content
import Fetching
import FileSystem
import Glibc
import LocalRegistry
import MountDaemon
import OCI
import Locking

/// Verifies artifacts one after another, and mends them where that was asked for.
final class ArtifactCheck: Sendable {
  private let assembly: Assembly
  private let repairs: Bool
  private let limit: RateLimit?
  /// Files that were read already, for another artifact, and whether they were right.
  private let known = Mutex<[Place: Bool]>([:])

  private struct Place: Hashable {
    let file: FileIdentity
    let offset: Int64
  }

  init(assembly: Assembly, repairs: Bool, rate: Int64?) {
    self.assembly = assembly
    self.repairs = repairs
    limit = rate.map { RateLimit(bytesPerSecond: $0) }
  }

  private var local: LocalRegistry { assembly.local }

  /// Verifies an artifact.
  ///
  /// - Returns: whether all of it is right now, as far as it is here.
  /// - Throws: `ContentError` where it cannot be looked at.
  func run(_ reference: Reference) async throws(ContentError) -> Bool {
    let artifact = try await local.here(reference)
    let local = local
    let (present, missing) = try await local.executor.run { () throws(ContentError) in
      try local.files(of: artifact)
    }
    let total = present.reduce(0) { $0 + $1.descriptor.size }
    let done = ByteTally()
    let display = Progress.show("\(reference)", total: total, missing: total) { done.value }
    var damaged: [(Descriptor, BlobFile, BlobExamination)] = []
    var failure: ContentError?
    var isClean = true
    for (descriptor, file) in present {
      let place = Place(file: file.identity, offset: file.offset)
      if let isRight = known.withLock({ $0[place] }) {
        isClean = isClean && isRight
        if !isRight { Terminal.print("\(reference)\tdamaged\t\(descriptor.digest)\tas told before") }
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
      tell(reference, descriptor, file, found)
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
      Terminal.print("\(reference)\tlacks \(missing.count) of its blobs, such as \(missing[0].digest)")
      return false
    }
    if isClean {
      let words = missing.isEmpty ? "is right" : "is right, blobs not here: \(missing.count)"
      Terminal.print("\(reference)\t\(words)\(damaged.isEmpty ? "" : " again")\t\(total) bytes")
    }
    return isClean
  }

  private func tell(
    _ reference: Reference,
    _ descriptor: Descriptor,
    _ file: BlobFile,
    _ found: BlobExamination
  ) {
    Terminal.print("\(reference)\tdamaged\t\(descriptor.digest)\t\(file.path)")
    guard found.isExact else {
      Terminal.print("\tno digests of its chunks are known: all of its \(descriptor.size) bytes are in doubt")
      return
    }
    for range in found.damage.prefix(100) {
      Terminal.print("\tbytes \(range.lowerBound)-\(range.upperBound - 1) are wrong")
    }
    if found.damage.count > 100 { Terminal.print("\tand \(found.damage.count - 100) more places") }
  }

  private func mend(
    _ reference: Reference,
    _ artifact: LocalArtifact,
    _ descriptor: Descriptor,
    _ file: BlobFile,
    _ found: BlobExamination
  ) async -> Bool {
    guard !artifact.isAdditional else {
      Terminal.printError(
        "weightfs: \(file.path): lies in a read-only store, where nothing is mended; mend it with what wrote it"
      )
      return false
    }
    let local = local
    let isReplaced = try? await local.executor.run { () throws(ContentError) in
      // An archive is written anew with what the pool has right.
      if artifact.repository.format == .archive { return local.hasVerified(descriptor) }
      return try local.replaceCopy(file, descriptor, of: artifact)
    }
    if isReplaced ?? false {
      Terminal.print("\tmended: from the blob that the local registry has")
      return true
    }
    var reason = "weightfs is offline"
    if !assembly.settings.fileSystem.isOffline {
      do throws(ContentError) {
        let source = try await source(of: descriptor, found, reference)
        if artifact.repository.format != .archive {
          try await local.executor.run { () throws(ContentError) in
            local.claim(descriptor, for: reference)
          }
        }
        let blob = try await assembly.store.repair(file, descriptor, damage: found.damage, from: source)
        let bytes = found.damage.reduce(0) { $0 + $1.count }
        Terminal.print("\tmended: \(bytes) bytes were fetched from \(source.origin)")
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
    let words =
      aside.flatMap { $0 }.map { "moved aside to \($0)" } ?? "its damaged bytes are not served any more"
    Terminal.printError("weightfs: \(descriptor.digest) cannot be mended: \(reason); \(words)")
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
