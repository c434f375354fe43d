import Artifacts
import BlobCache
import ArgumentParser
import Content
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs gc`.
struct Collect: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gc",
    abstract: "Enforce the limits of the local registry, and remove files left by crashes and other programs."
  )

  @Flag(help: "Only report which files would be removed, and which are kept for what reason.")
  var dryRun = false

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await ExitStatus.run {
      let local = try common.assemble().local
      let dryRun = dryRun
      let report = try await local.executor.run { () throws(ContentError) in
        try local.collect(dryRun: dryRun)
      }
      let verb = dryRun ? "would remove" : "removed"
      for leftover in report.leftovers { Terminal.print("\(verb)\t\(leftover.reason)\t\(leftover.path)") }
      for blob in report.evicted {
        Terminal.print("\(verb)\tleast recently used\t\(blob.digest)\t\(blob.size) bytes")
      }
      if dryRun {
        for (protection, (count, bytes)) in report.kept.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
          Terminal.print("kept\t\(Self.words(protection))\t\(count) blobs\t\(ByteSize.text(bytes))")
        }
      }
      var line = "\(ByteSize.text(report.used)) used"
      if let limit = report.limits.cacheLimit { line += " of \(ByteSize.text(limit))" }
      let free = max(report.limits.minimumFree, report.limits.defaultFree)
      if free > 0 { line += ", \(ByteSize.text(free)) must stay free" }
      Terminal.print("\(line), \(ByteSize.text(report.freed)) \(dryRun ? "would be" : "were") freed")
    }
  }

  static func words(_ protection: EvictionPlan.Protection) -> String {
    switch protection {
    case .open: "open"
    case .pinned: "pinned"
    case .final: "of loaded or built artifacts, which may not be fetchable"
    case .recent: "new: their artifact may be in flight"
    case .unknown: "of unknown artifacts"
    }
  }
}
