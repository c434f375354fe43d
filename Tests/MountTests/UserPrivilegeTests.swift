import Foundation
import TestSupport
import Testing

/// The privileges of a daemon that a user other than root started: weightfs leaves them as they are.
@Suite(.serialized) struct UserPrivilegeTests {
  private let folder: TemporaryFolder
  private static let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
  // A capability that a daemon of root drops.
  private static let capability = ["--inh-caps=+chown", "--ambient-caps=+chown"]
  // In a container /dev/fuse may be accessible only to root: a copy of it for everyone takes its place, in a mount
  // namespace that ends with the daemon. Core files are allowed as far as they may be.
  private static let namespace = """
    mkdir "$0" && mount -t tmpfs -o mode=755 none "$0" && cp -a /dev/fuse "$0/fuse" && chmod 666 "$0/fuse" \
    && mount --bind "$0/fuse" /dev/fuse && ulimit -S -c "$(ulimit -H -c)" && exec "$@"
    """

  init() throws { folder = try TemporaryFolder() }

  /// Parses the content of `/proc/PID/status` (proc(5)).
  private func fields(_ text: String) -> [String: String] {
    var found: [String: String] = [:]
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 1)
      if parts.count == 2 { found[String(parts[0])] = parts[1].trimmingCharacters(in: .whitespaces) }
    }
    return found
  }

  private func statuses(of process: Int32) throws -> [[String: String]] {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task").compactMap { thread in
      // A thread may have ended since the directory was read.
      let path = "/proc/\(process)/task/\(thread)/status"
      return (try? String(contentsOfFile: path, encoding: .utf8)).map { fields($0) }
    }
  }

  @Test func anOrdinaryUsersDaemonKeepsItsPrivilegesInEveryThread() async throws {
    try LayoutMaker.write(
      folder,
      "layout",
      layers: [LayoutMaker.file("model.gguf", ModelFile.gguf(200_000, seed: 1))],
      reference: "t"
    )
    let owned = try await Command.shell(
      "mkdir '\(folder.path("mount"))' && chown -R 65534:65534 '\(folder.path)'"
    )
    try #require(owned.status == 0, "\(owned.error)")
    let mount = try await MountProcess(
      folder,
      source: "oci:\(folder.path("layout")):t",
      prefix: ["unshare", "--mount", "bash", "-c", Self.namespace, folder.path("device")] + Self.user
        + Self.capability
    )
    // A read starts further threads.
    let read = try await Command.run(
      ["nsenter", "--mount=/proc/\(mount.process)/ns/mnt"] + Self.user
        + ["sha256sum", mount.path("model.gguf")]
    )
    #expect(read.status == 0, "\(read.error)")
    let before = fields(
      try await Command.run(Self.user + Self.capability + ["cat", "/proc/self/status"]).output
    )
    try #require(before["NoNewPrivs"] == "0" && before["CapEff"]?.contains("1") == true, "\(before)")
    let found = try statuses(of: mount.process)
    #expect(found.count > 3)
    for status in found {
      for name in ["Uid", "Gid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"] {
        #expect(status[name] == before[name], "\(name) of \(status["Name"] ?? "")")
      }
    }
    let limits = try String(contentsOfFile: "/proc/\(mount.process)/limits", encoding: .utf8)
    let core = limits.split(separator: "\n").first { $0.hasPrefix("Max core file size") } ?? ""
    let values = core.split(separator: " ").dropFirst(4).prefix(2)
    #expect(values.count == 2 && values.first == values.last, "\(core)")
    #expect(!mount.messages.contains("privileges"), "\(mount.messages)")
    withExtendedLifetime(mount) {}
  }
}
