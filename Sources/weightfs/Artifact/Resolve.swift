import ArgumentParser
import Artifacts
import ArtifactTree
import BlobCache
import Content
import Fetching
import Foundation
import Glibc
import LocalRegistry
import OCI
import SystemPackage

/// `weightfs resolve`: the contract of `llmman resolve`, which engines call by `LLMMAN_BIN`.
struct Resolve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print where an engine finds a model, as one line of JSON; mount it if necessary.",
    discussion: """
      Prints {"reference":…,"path":…,"format":"gguf"|"safetensors"} on standard output, and all else on standard \
      error. The path is that of a GGUF file, of its first shard, or of the directory of a safetensors model, below \
      a mount that exists or is started; the latter ends an hour after its last file was closed. Without FUSE the \
      files are checked out.
      """
  )

  @Argument(help: "A reference.")
  var reference: String

  @Flag(help: "Fetch nothing: fail unless the complete model is on this machine.")
  var noPull = false

  @Option(help: ArgumentHelp("A read-only store, which takes precedence.", valueName: "dir"))
  var store: String?

  @Option(help: ArgumentHelp("The local registry, like --registry-root.", valueName: "dir"))
  var cache: String?

  @Flag(help: "Check the files out, in place of a mount.")
  var noFuse = false

  @OptionGroup var common: CommonOptions

  private struct Answer: Encodable {
    let reference: String
    let path: String
    let format: String
  }

  func validate() throws {
    if let store, store.isEmpty { throw ValidationError("--store is empty") }
    if let cache {
      guard !cache.isEmpty else { throw ValidationError("--cache is empty") }
      guard common.registryRoot == nil else {
        throw ValidationError("--cache and --registry-root are the same option: give one of them")
      }
    }
  }

  func run() async throws {
    try await ExitStatus.run {
      let reference = try Reference(parsing: reference)
      var common = common
      common.registryRoot = cache ?? common.registryRoot
      if let store { common.additionalStore.append(store) }
      var settings = common.settings
      settings.resolution.isOffline = common.offline || noPull
      let assembly = try common.assemble(settings)
      let artifact = try await assembly.load(.reference(reference))
      let file = try EngineFile.model(of: artifact)
      guard let format = EngineFile.format(of: file, in: artifact.tree) else {
        throw ContentError(
          .unsupported,
          "\(reference)",
          "the model '\(ForeignText.visible(file))' is neither GGUF nor safetensors"
        )
      }
      if noPull { try await checkComplete(artifact, assembly) }
      let folder = try await folder(file, reference, artifact, assembly, common)
      let answer = Answer(
        reference: "\(reference)",
        path: file.isEmpty ? folder : "\(folder)/\(file)",
        format: format
      )
      let line = String(decoding: try JSONEncoder.oneLine.encode(answer), as: UTF8.self)
      Terminal.print(ForeignText.escaped(json: Array(line.utf8)))
    }
  }

  private func checkComplete(_ artifact: LoadedArtifact, _ assembly: Assembly) async throws(ContentError) {
    for (_, content) in artifact.tree.files {
      let status = await assembly.store.status(content.blob, layout: artifact.layout)
      guard status.presence == .complete else {
        throw ContentError(
          .notFound,
          artifact.label,
          "the model is not complete on this machine",
          advice: "Fetch it with 'weightfs pull', or leave out --no-pull"
        )
      }
    }
  }

  /// Returns the directory of the artifact: in a mount, in one that is started, or checked out.
  private func folder(
    _ file: String,
    _ reference: Reference,
    _ artifact: LoadedArtifact,
    _ assembly: Assembly,
    _ common: CommonOptions
  ) async throws(ContentError) -> String {
    let root = assembly.settings.root.path.string
    let executor = assembly.local.executor
    func shows(_ folder: String) async -> Bool {
      await executor.ask { MountedArtifact.shows(artifact, file, at: folder) }
    }
    if !noFuse {
      let place = MountedArtifact(reference, registryRoot: root)
      if let known = place.folder(), await shows(known) { return known }
      if await executor.ask({ access("/dev/fuse", F_OK) == 0 }) {
        let mount = try await executor.run { () throws(ContentError) in
          try RuntimeMount(common.mountArguments).start()
        }
        let path = place.path(of: "", mountPoint: mount)
        guard await shows(path) else {
          throw ContentError(
            .disk,
            path,
            "the mount does not show the artifact",
            advice: "Its log has the reason"
          )
        }
        return path
      }
      Terminal.printError("weightfs: there is no /dev/fuse: the files are checked out")
    }
    let name = "\(artifact.manifestDigest.hex)" + (common.completeImages ? "-complete" : "")
    let folder = try await executor.run { () throws(ContentError) in
      try RuntimeMount.checkoutFolder(in: root, name)
    }
    func isThere() async -> Bool { await executor.ask { access(folder.string, F_OK) == 0 } }
    guard !(await isThere()) else { return folder.string }
    do throws(ContentError) {
      _ = try await Checkout(artifact, assembly, mayLink: true).write(to: folder, show: Progress.show)
    } catch {
      // Of two that write the same files, one is first.
      guard await isThere() else { throw error }
    }
    return folder.string
  }
}

extension JSONEncoder {
  /// Writes an object without line breaks, with its keys in a fixed order.
  fileprivate static var oneLine: JSONEncoder {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return encoder
  }
}
