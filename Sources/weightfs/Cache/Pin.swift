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
    abstract: "Keep artifacts from being evicted; without a reference, list those that are kept."
  )

  @Argument(help: "References of artifacts that are in the local registry.")
  var references: [String] = []

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await ExitStatus.run {
      let parsed = try EachReference.parse(references)
      let local = try common.assemble().local
      try await EachReference.run(parsed) { reference in
        if try await local.here(reference).isAdditional {
          Terminal.printError("weightfs: \(reference): lies in a read-only store, where nothing is evicted")
          return
        }
        guard local.hasLayout(reference) else {
          throw ContentError(
            .unsupported,
            "\(reference)",
            "only its manifest is here, for another name of it",
            advice: "Pin that name, or fetch it by this one: 'weightfs pull \(reference)'"
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
  static let configuration = CommandConfiguration(abstract: "Let artifacts be evicted again.")

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
