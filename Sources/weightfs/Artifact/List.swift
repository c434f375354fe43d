import Artifacts
import Stores
import Disk
import ArgumentParser
import ArtifactTree
import Content
import Fetching
import FileSystem
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs ls`.
struct List: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ls",
    abstract: "List the artifacts on this machine, or the files of one."
  )

  @Argument(
    help:
      "\(ArtifactSource.forms); without it, all artifacts on this machine."
  )
  var source: String?

  @Flag(
    help:
      "Show the declared size and the disk usage of each artifact; the total counts shared files once."
  )
  var disk = false

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if disk, source != nil { throw ValidationError("--disk lists all artifacts and takes no reference") }
  }

  func run() async throws {
    try await ExitStatus.run {
      let source = try source.map { text throws(DocumentError) in try ArtifactSource(parsing: text) }
      let assembly = try common.assemble()
      if let source {
        try await listFiles(source, assembly)
      } else if disk {
        await listDisk(assembly)
      } else {
        try await listArtifacts(assembly)
      }
    }
  }

  private func listArtifacts(_ assembly: Assembly) async throws {
    var failure: ContentError?
    for reference in await assembly.local.references() {
      do throws(ContentError) {
        guard let found = try await assembly.local.artifact(reference) else { continue }
        let manifest = try await Self.manifest(found, assembly)
        var size: Int64 = 0
        var cached: Int64 = 0
        var seen: Set<Digest> = []
        for blob in manifest.layers where seen.insert(blob.digest).inserted {
          size += blob.size
          cached += await assembly.store.status(blob, layout: found.repository).cachedBytes
        }
        let share = size > 0 ? Int(Double(cached) / Double(size) * 100) : 100
        let lastUse = await assembly.local.lastUse(of: Array(seen))
        let columns = [
          Terminal.padded(ByteSize.text(size), 10, right: true), Terminal.padded("\(share)%", 4, right: true),
          Terminal.padded(assembly.local.location(of: found).kind, 11),
          Terminal.padded(Terminal.age(lastUse), 9, right: true), "\(reference)",
          String("\(found.descriptor.digest)".prefix(19)),
        ]
        Terminal.print(columns.joined(separator: "  "))
      } catch {
        Terminal.printError("weightfs: \(reference): \(error)")
        failure = failure ?? error
      }
    }
    if let failure { throw ExitCode(ExitStatus.code(failure)) }
  }

  /// Returns the manifest, from the pool if the layout lacks it.
  private static func manifest(
    _ found: LocalArtifact,
    _ assembly: Assembly
  ) async throws(ContentError) -> Manifest {
    do throws(ContentError) {
      return try await found.repository.manifest(found.descriptor).manifest
    } catch {
      guard !found.isAdditional,
        // An artifact without a readable manifest is listed without its blobs.
        let (_, manifest) = try? await assembly.local.poolRepository.manifest(found.descriptor)
      else { throw error }
      return manifest
    }
  }

  /// Lists size and disk usage of each artifact; the total counts shared files once.
  private func listDisk(_ assembly: Assembly) async {
    let local = assembly.local
    var apparent: Int64 = 0
    var real: [FileIdentity: Int64] = [:]
    for reference in await local.references() {
      do throws(ContentError) {
        guard let found = try await local.artifact(reference) else { continue }
        let use = try await local.executor.run { () throws(ContentError) in try local.diskUse(of: found) }
        apparent += use.apparent
        real.merge(use.files) { old, _ in old }
        print(use.apparent, use.files.values.reduce(0, +), "\(reference)")
      } catch {
        Terminal.printError("weightfs: \(reference): \(error)")
      }
    }
    print(apparent, real.values.reduce(0, +), "total")
  }

  private func print(_ apparent: Int64, _ real: Int64, _ label: String) {
    let columns = [
      Terminal.padded(ByteSize.text(apparent), 10, right: true),
      Terminal.padded(ByteSize.text(real), 10, right: true), label,
    ]
    Terminal.print(columns.joined(separator: "  "))
  }

  private func listFiles(_ source: ArtifactSource, _ assembly: Assembly) async throws(ContentError) {
    let artifact = try await assembly.load(source)
    for (node, content) in artifact.tree.files {
      let status = await assembly.store.status(content.blob, layout: artifact.layout)
      let columns = [
        Terminal.padded("\(content.size)", 14, right: true), Terminal.padded(status.presence.rawValue, 8),
        ForeignText.visible(artifact.tree.path(of: node)),
      ]
      Terminal.print(columns.joined(separator: "  "))
    }
  }
}
