import Artifacts
import Stores
import BlobCache
import ArgumentParser
import Content
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs pin`.
struct Pin: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Protect artifacts from eviction; without a reference, list the protected ones."
  )

  @Argument(help: "References of artifacts in the local registry.")
  var references: [String] = []

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await ExitStatus.run {
      let parsed = try EachReference.parse(references)
      let local = try common.assemble().local
      try await EachReference.run(parsed) { reference in
        if try await local.here(reference).isAdditional {
          Terminal.printError("weightfs: \(reference): in a read-only store, where nothing is evicted")
          return
        }
        guard local.hasLayout(reference) else {
          throw ContentError(
            .unsupported,
            "\(reference)",
            "only the manifest is present, for another name of the artifact",
            advice: "Pin the other name, or fetch this one: 'weightfs pull \(reference)'"
          )
        }
        try await local.executor.run { () throws(ContentError) in try local.pin(reference) }
      }
      guard parsed.isEmpty else { return }
      for reference in try local.pins.all() { Terminal.print("\(reference)") }
    }
  }
}

/// `weightfs unpin`.
struct Unpin: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Allow eviction of artifacts again.")

  @Argument(help: "References.")
  var references: [String]

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await common.forEach(references) { reference, local in
      let wasPinned = try await local.executor.run { () throws(ContentError) in
        try local.pins.remove(reference)
      }
      guard wasPinned else { throw ContentError(.notFound, "\(reference)", "is not pinned") }
    }
  }
}
