import Artifacts
import Stores
import Layouts
import ArgumentParser
import Content
import Fetching
import FileSystem
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs pull`.
struct Pull: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Fetch complete artifacts into the local registry, and verify them."
  )

  @Argument(help: "References, such as ghcr.io/acme/gemma3:q4.")
  var references: [String]

  @Flag(help: "Report what would be fetched, and fetch only manifests.")
  var dryRun = false

  @Flag(help: "Use the last known resolution of a tag if its registry does not answer.")
  var allowStale = false

  @Option(help: "Format of the stored artifact: oci-dir or oci-archive (default: as stored already).")
  var format: LayoutFormat?

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await ExitStatus.run {
      let parsed = try EachReference.parse(references)
      var settings = common.settings
      settings.resolution.acceptsStale = allowStale
      let assembly = try common.assemble(settings)
      try await EachReference.run(parsed) { try await pull($0, assembly) }
    }
  }

  private func pull(_ reference: Reference, _ assembly: Assembly) async throws {
    let before = try await readable(reference, assembly)
    if let before, before.isAdditional {
      Terminal.print("\(reference)\t\(before.descriptor.digest)\theld by \(before.repository.origin)")
      return
    }
    if dryRun { return try await tell(reference, assembly) }
    let kept = before.map { $0.repository.format ?? .directory }
    // An existing artifact keeps its format.
    let wanted = format ?? kept ?? assembly.settings.localFormat
    if let before, before.repository.format == .archive {
      let descriptor = try await assembly.resolver.resolve(reference, isFresh: true).descriptor
      if descriptor.digest == before.descriptor.digest {
        if wanted == .directory { try await seal(reference, .directory, assembly) }
        Terminal.print("\(reference)\t\(descriptor.digest)\tcomplete in \(before.repository.origin)")
        return
      }
    }
    // The archive of the previous version is renamed to its digest, unless that name is taken.
    let old = before.map {
      Reference(repository: reference.repository, target: .digest($0.descriptor.digest))
    }
    let hadOld = old.map { assembly.local.hasLayout($0) } ?? true
    let artifact = try await assembly.load(.reference(reference), isFresh: true)
    let (blobs, total) = try await WholeArtifact(artifact: artifact, assembly: assembly).complete(
      "\(reference)",
      show: Progress.show
    )
    try await seal(reference, wanted, assembly)
    withExtendedLifetime(blobs) {}
    if kept == .archive, !hadOld, let old { await removeOld(old, assembly) }
    Terminal.print("\(reference)\t\(artifact.root.digest)\t\(total) bytes")
  }

  /// Returns the local artifact; a fetched one that cannot be parsed is moved to `bad`, so that it is fetched
  /// again.
  private func readable(_ reference: Reference, _ assembly: Assembly) async throws -> LocalArtifact? {
    let local = assembly.local
    do throws(ContentError) {
      return try await local.artifact(reference)
    } catch {
      guard error.code == .invalid || error.code == .corrupt, !dryRun,
        !assembly.settings.resolution.isOffline,
        let place = try await local.executor.run({ () throws(ContentError) in
          try local.setLayoutAside(reference)
        })
      else { throw error }
      Terminal.printError("weightfs: \(error); the layout was moved to \(place) and is fetched again")
      return try await local.artifact(reference)
    }
  }

  private func tell(_ reference: Reference, _ assembly: Assembly) async throws {
    let artifact = try await assembly.load(.reference(reference), isFresh: true, isRecorded: false)
    let (total, missing) = await WholeArtifact(artifact: artifact, assembly: assembly).measure()
    Terminal.print("\(reference)\t\(artifact.root.digest)\t\(missing) of \(total) bytes to fetch")
  }

  /// Converts a complete artifact, unless it already has the requested format.
  private func seal(_ reference: Reference, _ format: LayoutFormat, _ assembly: Assembly) async throws {
    let local = assembly.local
    _ = try await local.executor.run { () throws(ContentError) in try local.convert(reference, to: format) }
  }

  /// Removes the archive of the previous version.
  private func removeOld(_ old: Reference, _ assembly: Assembly) async {
    let local = assembly.local
    _ = try? await local.executor.run { () throws(ContentError) in try local.remove(old) }
  }
}
