import Foundation
import TestSupport
import Testing

/// Sizes and shares of a disk, as options and variables take them.
///
/// `gc` prints the limits that they come to.
struct SizeOptionTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func limits(
    _ options: String,
    root: String = "root",
    environment: String = ""
  ) async throws -> Command.Result {
    let line = WeightfsCommand.line("gc --dry-run \(options)", in: folder, root: root)
    return try await Command.shell(
      "\(environment) \(line)",
      environment: ["HOME": folder.path, "XDG_RUNTIME_DIR": folder.path]
    )
  }

  @Test(arguments: [
    ("1048576", "1.0 MiB"), ("1048576B", "1.0 MiB"), ("512M", "512.0 MiB"), ("1024k", "1.0 MiB"),
    ("20G", "20.0 GiB"), ("2gib", "2.0 GiB"), ("1.5TiB", "1.5 TiB"), ("0.5G", "512.0 MiB"), ("3p", "3.0 PiB"),
    ("4095P", "4095.0 PiB"),
  ])
  func aSizeIsANumberWithABinaryUnit(_ text: String, _ shown: String) async throws {
    let result = try await limits("--cache-limit \(text)")
    #expect(
      result.status == 0 && result.output.contains("used of \(shown),"),
      "\(result.output)\(result.error)"
    )
  }

  @Test(arguments: [
    "", "x", "-1", "1.2.3", ".", "5 G", "1MBB", "1BB", "1e9", "0x10", "٣G", "4096P", "99999999999999999999P",
    "101%",
    "-1%", "%", "nan%", "inf%", "5%%", "1e1%", "0x5%", "+5%",
  ])
  func whatIsNoSizeIsWrongUsage(_ text: String) async throws {
    let option = try await limits("'--cache-limit=\(text)'")
    #expect(option.status == 64 && option.error.contains("--cache-limit"), "\(option.status) \(option.error)")
    guard !text.isEmpty else { return }
    for name in ["WEIGHTFS_CACHE_LIMIT", "WEIGHTFS_MIN_FREE"] {
      let variable = try await limits("", environment: "\(name)='\(text)'")
      #expect(
        variable.status == 64 && variable.error.contains("\(name): '\(text)' is not a size"),
        "\(variable.status) \(variable.error)"
      )
    }
    #expect(!folder.has("root"), "nothing is made for a wrong command")
  }

  @Test(arguments: ["0", "100", "512k", "1048575", "0%", "0.0%"])
  func aCacheThatHoldsNothingIsWrongUsage(_ text: String) async throws {
    let result = try await limits("--cache-limit \(text)")
    #expect(result.status == 64 && result.error.contains("the minimum is 1 MiB"), "\(result.error)")
  }

  @Test func anEmptyVariableIsNone() async throws {
    let result = try await limits("", environment: "WEIGHTFS_CACHE_LIMIT= WEIGHTFS_MIN_FREE=")
    #expect(result.status == 0 && !result.output.contains("used of"), "\(result.output)\(result.error)")
  }

  @Test func aShareIsOneOfTheDiskThatTheRootLiesOn() async throws {
    let disk = folder.path("disk")
    let made = try await Command.shell("mkdir '\(disk)' && mount -t tmpfs -o size=64m none '\(disk)'")
    try #require(made.status == 0, "\(made.error)")
    defer { umount2(disk, Int32(MNT_DETACH)) }
    for (options, environment, shown) in [
      ("--cache-limit 25%", "", "0 B used of 16.0 MiB, 3.2 MiB must stay free,"),
      ("--cache-limit 12.5%", "", "0 B used of 8.0 MiB, 3.2 MiB must stay free,"),
      ("--cache-limit 100%", "", "0 B used of 64.0 MiB, 3.2 MiB must stay free,"),
      ("--min-free 10%", "", "0 B used, 6.4 MiB must stay free,"),
      ("--cache-limit 50% --min-free 25%", "", "0 B used of 32.0 MiB, 16.0 MiB must stay free,"),
      ("", "WEIGHTFS_CACHE_LIMIT=50% WEIGHTFS_MIN_FREE=1M", "0 B used of 32.0 MiB, 1.0 MiB must stay free,"),
      ("--cache-limit 25%", "WEIGHTFS_CACHE_LIMIT=50%", "0 B used of 16.0 MiB, 3.2 MiB must stay free,"),
    ] {
      let result = try await limits(options, root: "disk/root", environment: environment)
      #expect(
        result.status == 0 && result.output.hasPrefix(shown),
        "\(environment) \(options): \(result.output)\(result.error)"
      )
    }
  }
}
