import Artifacts
import ArgumentParser
import Content
import Fetching
import FileSystem
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs verify`.
struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Read artifacts of this machine and hold every byte against its digest."
  )

  @Argument(help: "References; or --all.")
  var references: [String] = []

  @Flag(help: "Every artifact of the local registry and the additional stores.")
  var all = false

  @Flag(help: "Fetch damaged chunks anew; what cannot be mended is moved aside, and never served.")
  var repair = false

  @Option(help: ArgumentHelp("Read no more than this in a second, such as 100M.", valueName: "size"))
  var rate: ByteCount?

  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard all == references.isEmpty else {
      throw ValidationError(all ? "--all takes no references" : "name references, or --all")
    }
    if let rate, rate.bytes < 65_536 {
      throw ValidationError("--rate: less than 64K a second would take for ever")
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
