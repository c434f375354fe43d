@testable import Configuration
import Testing

/// The table of options, and the places that set them.
struct ConfigurationTests {
  private func file(
    _ text: String,
    _ path: String = "/f"
  ) throws(ConfigurationFile.Problem) -> ConfigurationFile {
    try ConfigurationFile(parsing: text, path: path)
  }

  @Test func namesAreUniqueAndEveryOptionSaysWhatItDoes() {
    #expect(Set(OptionTable.all.map(\.name)).count == OptionTable.all.count)
    for option in OptionTable.all {
      #expect(option.help.hasSuffix(".") && option.help.count > 20, "\(option.name)")
      #expect(option.name.allSatisfy { $0.isLowercase || $0 == "-" }, "\(option.name)")
      // A default in the form of a value is a value.
      guard !option.standard.contains(" "), !option.standard.isEmpty, option.standard != "never" else {
        continue
      }
      if case .text = option.kind { continue }
      #expect(option.problem(with: option.standard) == nil, "\(option.name): \(option.standard)")
    }
    #expect(OptionTable.option("cache_limit")?.variable == "WEIGHTFS_CACHE_LIMIT")
  }

  @Test func theLastPlaceCounts() throws {
    let first = try file(
      "cache_limit = \"1G\"\nttl = 5\noffline = true\nnamespace = [\"a.b/c\", \"d.e/f\"]",
      "/1"
    )
    let second = try file("ttl = 6\n[mount.\"/mnt/a\"]\nttl = 7\nallow_other = true", "/2")
    let merged = try Configuration(
      files: [first, second],
      environment: [
        "WEIGHTFS_RETRY_FOR": "9", "WEIGHTFS_TTL": "", "WEIGHTFS_NAMESPACE": "x.y/z", "OTHER": "1",
      ]
    )
    #expect(merged.values["cache-limit"] == Configuration.Value(texts: ["1G"], origin: "/1"))
    #expect(merged.values["ttl"] == Configuration.Value(texts: ["6"], origin: "/2"))
    #expect(merged.values["retry-for"] == Configuration.Value(texts: ["9"], origin: "WEIGHTFS_RETRY_FOR"))
    #expect(merged.values["namespace"]?.texts == ["x.y/z"])
    #expect(merged.values["allow-other"] == nil)
    #expect(
      merged.flags(for: .all, except: ["cache-limit"]) == ["--offline", "--retry-for=9"],
      "commands have no options of mounts"
    )
    let mount = try Configuration(files: [first, second], environment: [:], mountPoint: "/mnt/a")
    #expect(mount.values["ttl"]?.texts == ["7"])
    #expect(mount.values["ttl"]?.origin == "/2 [mount.\"/mnt/a\"]")
    #expect(
      mount.flags(for: .mount, except: []) == [
        "--cache-limit=1G", "--offline", "--ttl=7", "--namespace=a.b/c", "--namespace=d.e/f", "--allow-other",
      ]
    )
  }

  @Test(arguments: [
    ("cache_limt = \"1G\"", "did you mean 'cache_limit'?"), ("cache-limit = \"1G\"", "'cache-limit'"),
    ("cache_limit = \"1X\"", "'1X' is not a size"), ("ttl = \"soon\"", "'soon'"), ("ttl = -1", "'-1'"),
    ("ttl = 1.5", "wrong type"), ("offline = \"maybe\"", "'maybe'"),
    ("namespace = [1, [2]]", "array of strings"),
    ("ttl = [1]", "wrong type"), ("ttl = 1\nttl = 2", "line 2"), ("ttl = ", "line 1"),
    ("mount = 1", "tables"), ("[mount.\"mnt\"]\nttl = 1", "absolute path"),
    ("[mount.\"/mnt\"]\nnonsense = 1", "unknown key 'nonsense'"), ("[other]\nttl = 1", "unknown key 'other'"),
    ("umask = \"999\"", "octal"), ("verify = \"no\"", "deferred, strict"),
  ])
  func aWrongFileIsRefusedWithItsReason(_ text: String, _ reason: String) {
    do throws(ConfigurationFile.Problem) {
      _ = try file(text)
      Issue.record("\(text) was accepted")
    } catch {
      #expect("\(error)".hasPrefix("/f: ") && "\(error)".contains(reason), "\(text): \(error)")
    }
  }

  @Test func aWrongVariableIsRefused() {
    #expect(throws: Configuration.Problem(reason: "WEIGHTFS_TTL: 'x' is not a number from 0 to 86400")) {
      try Configuration(files: [], environment: ["WEIGHTFS_TTL": "x"])
    }
    for (text, flags) in [("1", ["--offline"]), ("no", []), ("TRUE", ["--offline"])] {
      let merged = try? Configuration(files: [], environment: ["WEIGHTFS_OFFLINE": text])
      #expect(merged?.flags(for: .all, except: []) == flags, "\(text)")
    }
  }

  @Test func optionsOfMountAreFlagsKernelOptionsOrIgnored() throws {
    let list = try MountOptionList(
      parsing:
        #"rw,registry_root="/a,b",context="u:o:t:s0:c1,c2",noexec,max_read=65536,_netdev,x-systemd.automount,allow_other"#
    )
    #expect(list.flags == ["--registry-root=/a,b", "--allow-other"])
    #expect(list.kernel == [#"context="u:o:t:s0:c1,c2""#, "noexec", "max_read=65536"])
    #expect(!list.isRemount)
    #expect(try MountOptionList(parsing: "remount,ttl=5").isRemount)
    #expect(try MountOptionList(parsing: "").flags.isEmpty)
    #expect(try MountOptionList(parsing: "offline=false").flags.isEmpty)
    for (text, reason) in [
      ("nonsense", "'nonsense'"), ("alow_other", "did you mean 'allow_other'?"), ("ttl", "needs a value"),
      ("ttl=x", "'x'"), (#"context="u:o,ro"#, "quote"), ("offline=perhaps", "'perhaps'"),
    ] {
      do throws(MountOptionList.Problem) {
        _ = try MountOptionList(parsing: text)
        Issue.record("\(text) was accepted")
      } catch {
        #expect(error.reason.contains(reason), "\(text): \(error.reason)")
      }
    }
  }

  @Test(arguments: [
    ("10GB", Int64(10) << 30), ("10G", 10 << 30), ("10GiB", 10 << 30), ("1B", 1), ("1.5k", 1536), ("7", 7),
  ])
  func sizesHaveTheUnitsThatPeopleWrite(_ text: String, _ bytes: Int64) {
    #expect(ByteCount(text)?.bytes == bytes)
  }
}
