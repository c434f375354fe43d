import Artifacts
import Stores
import Layouts
import ArgumentParser
import Content
import Fetching
import FileSystem
import Glibc
import LocalRegistry
import MountDaemon
import OCI
import SystemPackage

/// `weightfs save`.
struct Save: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write an artifact to a file or directory that skopeo, podman and other tools can read.",
    discussion:
      "Missing blobs are fetched first. The same artifact always gives the same archive, byte for byte."
  )

  @Argument(help: "A reference, such as ghcr.io/acme/gemma3:q4.")
  var reference: String

  @Argument(help: "Output path, '-' for standard output (default: a name from the reference).")
  var path: String?

  @Option(help: "oci-dir or oci-archive.")
  var format: LayoutFormat = .archive

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if path == "-" {
      guard format == .archive else { throw ValidationError("standard output requires oci-archive") }
      guard isatty(STDOUT_FILENO) == 0 else {
        throw ValidationError("refusing to write an archive to a terminal: give a path, or use a pipe")
      }
    }
  }

  func run() async throws {
    try await ExitStatus.run {
      let reference = try Reference(parsing: reference)
      let assembly = try common.assemble()
      let artifact = try await assembly.load(.reference(reference))
      let (blobs, total) = try await WholeArtifact(artifact: artifact, assembly: assembly)
        .complete("\(reference)", show: Progress.show)
      let local = assembly.local
      guard let found = try await local.artifact(reference) else {
        throw ContentError(.notFound, "\(reference)", "was removed from the local registry")
      }
      let target = path ?? Self.name(reference, format)
      let done = ByteTally()
      let display = Progress.show(
        Work(label: "writing \(target)", total: total, missing: total) { done.value }
      )
      let failure: ContentError?
      do throws(ContentError) {
        try await local.executor.run { () throws(ContentError) in
          let export = LayoutExport(try local.contents(of: found), name: "\(reference)")
          if target == "-" {
            try export.write(to: .standardOutput) { done.add($0) }
          } else {
            try export.write(to: FilePath(AbsolutePath.of(target)), format: format) { done.add($0) }
          }
        }
        failure = nil
      } catch {
        failure = error
      }
      await display.end()
      withExtendedLifetime(blobs) {}
      if let failure { throw failure }
      if target != "-" { Terminal.print("\(reference)\t\(found.descriptor.digest)\t\(target)") }
    }
  }

  private static func name(_ reference: Reference, _ format: LayoutFormat) -> String {
    let repository = reference.repository.path.split(separator: "/").last.map(String.init) ?? "artifact"
    let target =
      switch reference.target {
      case .tag(let tag): tag
      case .digest(let digest): String(digest.hex.prefix(12))
      }
    return "\(repository)-\(target)" + (format == .archive ? ".tar" : "")
  }
}
