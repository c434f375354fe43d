import Artifacts
import ArgumentParser
import ArtifactTree
import Content
import Fetching
import FileSystem
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs prefetch`.
struct Prefetch: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Fetch files of an artifact, or tensors of them, before they are read.",
    discussion: """
      Without --include every file is fetched. With --tensors only GGUF and safetensors files are considered: \
      their headers and the matching tensors are fetched.
      """
  )

  @OptionGroup var selection: FileSelection

  @Option(help: "Only tensors whose name matches this shell pattern; may be given several times.")
  var tensors: [String] = []

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await ExitStatus.run {
      var settings = common.settings
      settings.fetching.fill = .demand
      let assembly = try common.assemble(settings)
      let (artifact, files) = try await selection.find(assembly)
      var parts: [Part] = []
      var fileCount = 0
      for file in files {
        let before = parts.count
        let blob = try await assembly.open(file.content.blob, of: artifact)
        if tensors.isEmpty {
          parts.append(Part(blob: blob, range: file.range))
        } else {
          parts += try await tensorParts(file, blob)
        }
        if parts.count > before { fileCount += 1 }
      }
      guard !parts.isEmpty else {
        throw ContentError(.notFound, artifact.label, "no tensor matches \(tensors.joined(separator: ", "))")
      }
      let total = parts.reduce(0) { $0 + Int64($1.range.count) }
      try await Part.fetch(parts, label: artifact.label)
      Terminal.print("\(artifact.label)\t\(fileCount) files\t\(total) bytes")
    }
  }

  private func tensorParts(_ file: FileSelection.File, _ blob: LazyBlob) async throws(ContentError) -> [Part]
  {
    guard let layout = try await blob.tensorLayout(of: file.range) else { return [] }
    let start = file.range.lowerBound
    let chosen = layout.tensors.filter { FileSelection.matches($0.name, tensors) }
    guard !chosen.isEmpty else { return [] }
    return [Part(blob: blob, range: start..<start + layout.headerEnd)]
      + chosen.map { Part(blob: blob, range: start + $0.range.lowerBound..<start + $0.range.upperBound) }
  }
}

/// A range of a blob to fetch.
struct Part: Sendable {
  let blob: LazyBlob
  let range: Range<Int64>

  private static let parallel = 4

  /// Fetches parts in their order, some in parallel, and shows the progress.
  ///
  /// Blobs that are complete afterwards are verified.
  static func fetch(_ parts: [Part], label: String) async throws(ContentError) {
    let total = parts.reduce(0) { $0 + Int64($1.range.count) }
    let done = { @Sendable () -> Int64 in parts.reduce(0) { $0 + $1.blob.status(of: $1.range).cachedBytes } }
    let display = Progress.show(Work(label: label, total: total, missing: total - done(), done: done))
    let failure: ContentError?
    do throws(ContentError) {
      try await ParallelWork.run(parts, limit: parallel) { (part) async throws(ContentError) in
        try await part.blob.prefetch(part.range)
      }
      failure = nil
    } catch {
      failure = error
    }
    await display.end()
    if let failure { throw failure }
    for part in parts where part.blob.status.cachedBytes == part.blob.descriptor.size {
      try await part.blob.complete()
    }
  }
}
