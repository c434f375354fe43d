import Artifacts
import ArgumentParser
import ArtifactTree
import Content
import Fetching
import FileSystem
import MountDaemon
import OCI

/// `weightfs inspect`.
struct Inspect: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show the properties and files of an artifact, and which bytes are cached."
  )

  @Argument(help: "\(ArtifactSource.forms).")
  var source: String

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var common: CommonOptions

  private struct File: Encodable {
    let path: String
    let size: Int64
    let blob: Digest
    let state: String
    let cachedBytes: Int64
    let verified: String
  }

  private struct Report: Encodable {
    let reference: String
    let digest: Digest
    let manifest: Digest
    let mediaType: MediaType
    let artifactType: MediaType?
    let packaging: String
    let origin: String
    let annotations: [String: String]
    let config: Descriptor?
    let layers: [Descriptor]
    let files: [File]
    let notes: [String]
    let problems: [String]
  }

  func run() async throws {
    try await ExitStatus.run {
      let source = try ArtifactSource(parsing: source)
      let assembly = try common.assemble()
      let artifact = try await assembly.load(source)
      var files: [File] = []
      for (node, content) in artifact.tree.files {
        let status = await assembly.store.status(content.blob, layout: artifact.layout)
        files.append(
          File(
            path: artifact.tree.path(of: node),
            size: content.size,
            blob: content.blob.digest,
            state: status.presence.rawValue,
            cachedBytes: status.cachedBytes,
            verified: status.verified.rawValue
          )
        )
      }
      let report = Report(
        reference: artifact.label,
        digest: artifact.root.digest,
        manifest: artifact.manifestDigest,
        mediaType: artifact.root.mediaType,
        artifactType: artifact.manifest.effectiveArtifactType,
        packaging: artifact.packaging,
        origin: artifact.origin,
        annotations: artifact.manifest.annotations,
        config: artifact.manifest.config,
        layers: artifact.manifest.layers,
        files: files,
        notes: artifact.notes,
        problems: artifact.tree.problems + artifact.tree.missingShards.map { "'\($0)' is missing" }
      )
      if json {
        Terminal.print(ForeignText.escaped(json: try JSONDocument.encode(report)))
      } else {
        print(report)
      }
    }
  }

  private func print(_ report: Report) {
    Terminal.print("reference      \(report.reference)")
    Terminal.print("digest         \(report.digest)")
    if report.manifest != report.digest { Terminal.print("manifest       \(report.manifest)") }
    Terminal.print("media type     \(report.mediaType)")
    Terminal.print("artifact type  \(ForeignText.visible(report.artifactType?.rawValue ?? "-"))")
    Terminal.print("packaging      \(report.packaging)")
    Terminal.print("origin         \(report.origin)")
    for (key, value) in report.annotations.sorted(by: { $0.key < $1.key }) {
      Terminal.print("annotation     \(ForeignText.visible("\(key)=\(value)"))")
    }
    for file in report.files {
      let columns = [
        Terminal.padded(ByteSize.text(file.size), 10, right: true), Terminal.padded(file.state, 8),
        ForeignText.visible(file.path), "\(file.blob)",
      ]
      Terminal.print("file           \(columns.joined(separator: "  "))")
    }
    for note in report.notes { Terminal.print("note           \(ForeignText.visible(note))") }
    for problem in report.problems { Terminal.print("problem        \(ForeignText.visible(problem))") }
  }
}
