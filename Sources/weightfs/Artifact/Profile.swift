import Artifacts
import BlobCache
import ArgumentParser
import ArtifactTree
import Content
import Fetching
import FileSystem
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs profile`.
struct Profile: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Record which parts of a model a start reads, so that a later cold start fetches them first.",
    discussion: """
      'record' makes every mount of the local registry record the reads of the files, from their next open on \
      until 'record --stop'. A mount fetches the recorded parts, in their order, when an incomplete file is \
      opened. 'apply' fetches them now.
      """,
    subcommands: [Record.self, Show.self, Apply.self]
  )

  /// `weightfs profile record`.
  struct Record: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Record reads of an artifact's files, from their next open on."
    )

    @OptionGroup var selection: FileSelection

    @Flag(help: "Stop recording.")
    var stop = false

    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await ExitStatus.run {
        let assembly = try common.assemble()
        let (_, files) = try await selection.find(assembly)
        let profiles = AccessProfileStore(root: assembly.local.root)
        for file in files {
          try profiles.setRecording(!stop, file.content.blob.digest)
          Terminal.print(
            "\(ForeignText.visible(file.path))\t\(stop ? "recording stopped" : "recorded from the next open on")"
          )
        }
      }
    }
  }

  /// `weightfs profile show`.
  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print the profiles of an artifact's files.")

    @OptionGroup var selection: FileSelection

    @Flag(help: "Print every byte range, in the order in which it was read.")
    var runs = false

    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await ExitStatus.run {
        let assembly = try common.assemble()
        let (artifact, files) = try await selection.find(assembly)
        let profiles = AccessProfileStore(root: assembly.local.root)
        var isEmpty = true
        var seen: Set<Digest> = []
        for file in files where seen.insert(file.content.blob.digest).inserted {
          guard let profile = profiles.read(file.content.blob) else { continue }
          isEmpty = false
          let share = Int(Double(profile.byteCount) / Double(max(1, profile.size)) * 100)
          let size = "\(ByteSize.text(profile.byteCount)) of \(ByteSize.text(profile.size)) (\(share)%)"
          Terminal.print("\(ForeignText.visible(file.path))\t\(size)\t\(profile.ranges.count) ranges")
          if runs {
            for range in profile.ranges { Terminal.print("  \(range.lowerBound)-\(range.upperBound - 1)") }
          }
        }
        if isEmpty {
          throw ContentError(
            .notFound,
            artifact.label,
            "no profile exists",
            advice: "Record one: 'weightfs profile record \(artifact.label)', then start the engine"
          )
        }
      }
    }
  }

  /// `weightfs profile apply`.
  struct Apply: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Fetch the recorded ranges, in their order.")

    @OptionGroup var selection: FileSelection

    @OptionGroup var common: CommonOptions

    func run() async throws {
      try await ExitStatus.run {
        var settings = common.settings
        settings.fetching.fill = .demand
        let assembly = try common.assemble(settings)
        let (artifact, files) = try await selection.find(assembly)
        let profiles = AccessProfileStore(root: assembly.local.root)
        var parts: [Part] = []
        var seen: Set<Digest> = []
        for file in files where seen.insert(file.content.blob.digest).inserted {
          guard let profile = profiles.read(file.content.blob) else { continue }
          let blob = try await assembly.open(file.content.blob, of: artifact)
          parts += profile.ranges.map { Part(blob: blob, range: $0) }
        }
        guard !parts.isEmpty else {
          throw ContentError(.notFound, artifact.label, "no profile exists")
        }
        try await Part.fetch(parts, label: artifact.label)
        Terminal.print("\(artifact.label)\t\(parts.reduce(0) { $0 + $1.range.count }) bytes")
      }
    }
  }
}
