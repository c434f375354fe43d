import Artifacts
import BlobCache
import ArgumentParser
import Content
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs evict`.
struct Evict: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract:
      "Evict the cached bytes of artifacts; they are fetched again when they are read."
  )

  @Argument(help: "References.")
  var references: [String]

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await common.forEach(references) { reference, local in
      let (freed, kept) = try await local.executor.run { () throws(ContentError) in
        try local.evict(reference)
      }
      Terminal.print("\(reference)\t\(freed) bytes freed")
      for (protection, count) in kept.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
        Terminal.printError(
          "weightfs: \(reference): blobs kept: \(count), \(Collect.words(protection))"
        )
      }
    }
  }
}
