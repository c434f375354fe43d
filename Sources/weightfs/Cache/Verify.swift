import Artifacts
import ArgumentParser
import Configuration
import Content
import Fetching
import FileSystem
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs verify`.
struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Read artifacts on this machine and verify every byte."
  )

  @Argument(help: "References; or --all.")
  var references: [String] = []

  @Flag(help: "Verify every artifact of the local registry and the additional stores.")
  var all = false

  @Flag(help: "Fetch damaged chunks again; a file that cannot be repaired is moved aside and not served.")
  var repair = false

  @Option(help: ArgumentHelp("Maximum read rate in bytes per second, such as 100M.", valueName: "size"))
  var rate: ByteCount?

  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard all == references.isEmpty else {
      throw ValidationError(all ? "--all takes no references" : "give references, or --all")
    }
    if let rate, rate.bytes < 65_536 {
      throw ValidationError("--rate: the minimum is 64K")
    }
  }

  func run() async throws {
    try await ExitStatus.run {
      let parsed = try EachReference.parse(references)
      let assembly = try common.assemble()
      let check = ArtifactCheck(
        assembly: assembly,
        repairs: repair,
        rate: rate?.bytes,
        show: Progress.show,
        report: CheckReport.print
      )
      var isDamaged = false
      try await EachReference.run(all ? await assembly.local.references() : parsed) { reference in
        let isClean = try await check.run(reference)
        isDamaged = isDamaged || !isClean
      }
      if isDamaged { throw ExitCode(ExitStatus.corrupt) }
    }
  }
}
