import Content
import Foundation
import OCI
import TestSupport
import Testing

/// Programs that use the tree, with a real registry.
@Suite(.serialized) struct TreeTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func shell(
    _ script: String,
    _ mount: MountProcess,
    seconds: Int = 60
  ) async throws -> Command.Result {
    try await Command.shell("cd '\(mount.mountPoint)'; \(script)", seconds: seconds)
  }

  /// Publishes a model of some files in a real registry.
  private func publish(_ registry: DockerRegistry, _ name: String, _ files: [String: [UInt8]]) async throws {
    let layers = files.sorted { $0.key < $1.key }.map { LayoutMaker.file($0.key, $0.value) }
    let layout = "layout-\(UUID().uuidString)"
    try LayoutMaker.write(folder, layout, layers: layers)
    try await LayoutMaker.push(folder.path(layout), to: "\(registry.host)/\(name)")
  }

  @Test func toolsCopyAndMeasureWhatIsThere() async throws {
    let registry = try await DockerRegistry()
    let files = [
      "model.gguf": SeededGenerator.bytes(5_000_000, seed: 1), "sub/dir/config.json": Array("{}".utf8),
      "sub/weights.bin": SeededGenerator.bytes(300_001, seed: 2),
    ]
    try await publish(registry, "acme/m:t", files)
    for (name, bytes) in files { try folder.write(bytes, to: "source/\(name)") }
    let mount = try await MountProcess(folder)
    let tag = "\(registry.host)/acme/m/t"
    let copies = folder.path("copies")
    // docs/semantics.md: "Copying".
    let result = try await shell(
      """
      set -e; mkdir '\(copies)'
      diff -r '\(tag)' '\(folder.path("source"))'
      cp -a '\(tag)' '\(copies)/cp'; diff -r '\(copies)/cp' '\(folder.path("source"))'
      rsync -a './\(tag)/' '\(copies)/rsync/'; diff -r '\(copies)/rsync' '\(folder.path("source"))'
      tar -C '\(tag)' -cf - . | tar -C '\(copies)' -xf - --one-top-level=tar; diff -r '\(copies)/tar' '\(folder.path("source"))'
      tar -S -C '\(tag)' -cf - . | tar -C '\(copies)' -xf - --one-top-level=sparse; diff -r '\(copies)/sparse' '\(folder.path("source"))'
      test $(du -sb --apparent-size '\(tag)' | cut -f1) -ge 5300003
      test $(du -s --block-size=1 '\(tag)/model.gguf' | cut -f1) -ge 5000000
      cd '\(tag)/sub'; test "$(/bin/pwd)" = '\(mount.mountPoint)/\(tag)/sub'
      """,
      mount
    )
    #expect(result.status == 0, "\(result.output)\(result.error)")
    let writes = try await shell(
      "cd '\(tag)'; touch x; rm model.gguf; mkdir d; echo a >>model.gguf; mv sub y; chmod 777 model.gguf",
      mount
    )
    #expect(writes.error.components(separatedBy: "Read-only file system").count == 7, "\(writes.error)")
  }

  @Test func aShellAnEditorAndAFileManagerCostFewRequests() async throws {
    let registry = try await DockerRegistry()
    try await publish(registry, "acme/gemma3:q4", ["model.gguf": Array("GGUF\u{1}".utf8)])
    let mount = try await MountProcess(folder)
    let host = registry.host
    let result = try await shell(
      """
      cat '\(host)/typo/q4/model.gguf' && exit 1
      for name in .git .Trash .Trash-0 .hidden autorun.inf desktop.ini .directory CVS HEAD x.index.json; do
        stat "$name" && exit 2
        stat "\(host)/$name" && exit 3
      done
      bash -c 'compgen -f "\(host)/acme/gemma3/q"' | grep -qx '\(host)/acme/gemma3/q4' || exit 4
      stat '\(host)/acme/gemma3/q4/.git' '\(host)/acme/gemma3/q4/model.safetensors.index.json' && exit 5
      cat '\(host)/acme/gemma3/q4/model.gguf' | od -An -tx1
      find '\(host)' -maxdepth 4 | sort | tr '\\n' ' '
      """,
      mount
    )
    #expect(result.output.contains(" 47 47 55 46 01"), "\(result.output)\(result.error)")
    #expect(result.output.contains("\(host)/acme/gemma3/q4/model.gguf"))
    #expect(!result.error.contains("Input/output error"), "\(result.error)")
    let count = try registry.requests().count { !$0.contains("/blobs/uploads") && $0.contains("/v2/") }
    // Two for each plausible name that is not a file, one list, one resolution, manifest, blob; pushes have
    // their own.
    #expect(count <= 40, "\(count) requests")
  }

  @Test func listingAThousandTagsResolvesNone() async throws {
    let registry = try FaultyRegistry()
    for number in 0..<1000 {
      try registry.add(files: ["x": [UInt8(number % 256)]], repository: "acme/many", tag: "v\(number)")
    }
    let mount = try await MountProcess(folder)
    let result = try await shell("ls -l '\(registry.host)/acme/many' | grep -c v", mount)
    #expect(result.output == "1000\n", "\(result.error)")
    #expect(registry.server.requests.count < 10, "\(registry.server.requests.map(\.path).suffix(5))")
  }

  @Test func aRegistryThatRefusesWhatDoesNotExistHidesNothing() async throws {
    let registry = try FaultyRegistry()
    try registry.add(files: ["x": [7]], repository: "acme/m", tag: "t")
    registry.setFault { request, _ in
      let answer = registry.truth(request)
      return answer.status == 404 ? .init(401, headers: [("WWW-Authenticate", "Basic realm=\"x\"")]) : answer
    }
    let mount = try await MountProcess(folder)
    let result = try await shell(
      "cat '\(registry.host)/acme/m/t/x' | od -An -tx1; cat '\(registry.host)/typo/q4/model.gguf'; cat '\(registry.host)/acme/m:nope/x'",
      mount
    )
    #expect(result.output == " 07\n")
    #expect(result.error.contains("model.gguf': No such file or directory"), "\(result.error)")
    #expect(result.error.contains("m:nope/x': Permission denied"), "\(result.error)")
  }

  @Test func aBindMountKeepsItsTreeWhileTheTagMoves() async throws {
    let registry = try await DockerRegistry()
    try await publish(registry, "acme/m:t", ["old": [1]])
    let mount = try await MountProcess(folder, ["--ttl", "0"])
    let tag = "\(registry.host)/acme/m/t"
    let bound = folder.path("bound")
    try FileManager.default.createDirectory(atPath: bound, withIntermediateDirectories: true)
    // docs/semantics.md: "Moved tags".
    let before = try await shell("ls '\(tag)' && mount --bind '\(tag)' '\(bound)'", mount)
    #expect(before.output == "old\n", "\(before.error)")
    try await publish(registry, "acme/m:t", ["new": [2]])
    let after = try await shell(
      "ls '\(tag)'; ls '\(bound)'; cat '\(bound)/old' | od -An -tx1; umount '\(bound)'",
      mount
    )
    #expect(after.output == "new\nold\n 01\n", "\(after.error)")
  }

  @Test func anOverlayOnTopIsWritable() async throws {
    let registry = try await DockerRegistry()
    try await publish(registry, "acme/m:t", ["a": [1], "b": [2]])
    let mount = try await MountProcess(folder)
    // Colons would split the option; the on-disk spelling has none.
    let lower = mount.path("\(registry.host)/acme/m:t".replacingOccurrences(of: ":", with: "__"))
    let upper = try TemporaryFolder()
    let tmpfs = upper.path("t")
    let result = try await Command.shell(
      """
      set -e; mkdir '\(tmpfs)'; mount -t tmpfs none '\(tmpfs)'; cd '\(tmpfs)'; mkdir up work merged
      mount -t overlay overlay -o 'lowerdir=\(lower),upperdir=up,workdir=work' merged
      echo more >>merged/a; rm merged/b; ls merged; od -An -tx1 merged/a
      umount merged; cd /; umount '\(tmpfs)'
      """
    )
    _ = try await Command.shell("umount '\(tmpfs)/merged' '\(tmpfs)' 2>/dev/null")
    #expect(result.output == "a\n 01 6d 6f 72 65 0a\n", "\(result.error)")
  }

  @Test func othersSeeItOnlyWhenAllowed() async throws {
    let registry = try await DockerRegistry()
    try await publish(registry, "acme/m:t", ["x": [1]])
    _ = try await Command.shell("chmod 755 '\(folder.path)'")
    let path = "\(registry.host)/acme/m/t/x"
    let closed = try await MountProcess(folder, name: "closed")
    let open = try await MountProcess(
      folder,
      name: "open",
      root: "root2",
      ["--allow-other", "--uid", "65534", "--gid", "65534", "--umask", "077"]
    )
    let result = try await Command.shell(
      """
      su -s /bin/sh nobody -c "cat '\(closed.path(path))'" >/dev/null 2>&1; echo $?
      su -s /bin/sh nobody -c "cat '\(open.path(path))'" | od -An -tx1
      su -s /bin/sh games -c "cat '\(open.path(path))'" >/dev/null 2>&1; echo $?
      stat -c '%a %u %g %h' '\(open.path(path))'
      """
    )
    #expect(result.output == "1\n 01\n1\n400 65534 65534 1\n", "\(result.error)")
    // Lines may be missed if the table is read while other processes mount.
    #expect(
      try await eventually {
        try String(contentsOfFile: "/proc/mounts", encoding: .utf8).split(separator: "\n").contains {
          $0.contains(closed.mountPoint) && $0.contains("fuse.weightfs ro,nosuid,nodev")
        }
      }
    )
  }

  @Test func hostileNamesCostOnlyThemselves() async throws {
    let registry = try FaultyRegistry()
    var layers: [Descriptor] = []
    for (index, name) in [
      "../escape", "/etc/passwd", "a//b", "n\0ul", String(repeating: "x", count: 5000), "good", "good",
    ].enumerated() {
      var layer = registry.add(blob: [UInt8(index)])
      layer.annotations["org.opencontainers.image.title"] = name
      layers.append(layer)
    }
    let manifest = Manifest(artifactType: MediaType(rawValue: "a/b"), config: nil, layers: layers)
    registry.add(document: try JSONDocument.encode(manifest), repository: "acme/evil", tags: ["t"])
    registry.add(
      document: Array(String(repeating: "[", count: 100_000).utf8),
      repository: "acme/deep",
      tags: ["t"]
    )
    try registry.add(files: ["x": [9]], repository: "acme/fine", tag: "t")
    let mount = try await MountProcess(folder)
    let host = registry.host
    let result = try await shell(
      "ls '\(host)/acme/evil/t' | grep -c sha256-; od -An -tx1 '\(host)/acme/evil/t/good'; ls '\(host)/acme/deep/t'; od -An -tx1 '\(host)/acme/fine/t/x'",
      mount
    )
    #expect(result.output == "5\n 05\n 09\n", "\(result.output)")
    #expect(result.error.contains("Input/output error"))
    registry.server.forgetRequests()
    for place in ["", "\(host)/", "\(host)/acme/", "\(host)/acme/fine/t/"] {
      for length in [256, 1000] {
        let path = mount.path(place + String(repeating: "n", count: length))
        #expect(open(path, O_RDONLY) == -1 && errno == ENAMETOOLONG, "\(place) \(length)")
      }
    }
    #expect(registry.server.requests.isEmpty, "no request is sent for a name that is too long")
    #expect(mount.messages.contains("nested more than 64 deep"), "\(mount.messages)")
    #expect(!folder.files().contains { $0.hasSuffix("escape") })
  }
}
