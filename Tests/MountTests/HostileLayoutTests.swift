import Content
import Foundation
import OCI
import TestSupport
import Testing

/// Layouts that are wrong, truncated or modified by other programs: each affects only itself, and the error
/// names the reason.
@Suite(.serialized) struct HostileLayoutTests {
  private let folder: TemporaryFolder
  private let model = SeededGenerator.bytes(2_000_000, seed: 101)

  init() throws { folder = try TemporaryFolder() }

  private func weightfs(_ words: String) async throws -> Command.Result {
    try await WeightfsCommand.run(words, in: folder)
  }

  @discardableResult
  private func shell(_ script: String) async throws -> String {
    let result = try await Command.shell("cd '\(folder.path)' && \(script)", seconds: 100)
    try #require(result.status == 0, "\(script): \(result.output)\(result.error)")
    return result.output
  }

  private func layout(_ name: String, _ bytes: [UInt8]? = nil, reference: String? = "localhost/a/m:1") throws
  {
    try LayoutMaker.write(
      folder,
      name,
      layers: [LayoutMaker.file("model.gguf", bytes ?? model)],
      reference: reference
    )
  }

  /// Loads a layout that must be refused.
  private func refuses(_ path: String, _ words: [String], _ what: Comment) async throws {
    let result = try await weightfs("load \(path)")
    #expect(result.status != 0, what)
    for word in words { #expect(result.error.contains(word), "\(what): \(result.error)") }
    #expect(try await weightfs("ls").output.isEmpty, what)
    #expect(try await weightfs("gc").status == 0)
    let left = folder.files().filter { $0.hasPrefix("root/.weightfs/temporary/") }
    #expect(left.isEmpty, "\(what): \(left)")
  }

  @Test func badArchivesAndLayoutsAreRefusedWithTheirName() async throws {
    try layout("good")
    try await shell("cd good && tar cf ../good.tar oci-layout index.json blobs")
    try await shell("head -c 1500000 good.tar >cut.tar")
    try await refuses("cut.tar", ["cut.tar", "ends before"], "a truncated archive")
    // The size in a member's header, in octal at byte 124: 2 MB become 8 GB minus one byte.
    let lie =
      "d=bytearray(open('good.tar','rb').read());h=d.find(b'blobs/sha256/\(Verification.digest(of: model).hex)');d[h+124:h+135]=b'77777777777';d[h+148:h+156]=b' '*8;s=sum(d[h:h+512]);d[h+148:h+156]=b'%06o\\0 '%s;open('lie.tar','wb').write(d)"
    try await shell("python3 -c \"\(lie)\"")
    try await refuses("lie.tar", ["lie.tar", "ends before"], "a member with a wrong size")
    try await shell("cp -r good lacking && rm lacking/blobs/sha256/\(Verification.digest(of: model).hex)")
    try await refuses("lacking", ["lacking", "lacks the blob"], "a layout with a blob missing")
    try await shell(
      "cp -r good wrong && printf x | dd of=wrong/blobs/sha256/\(Verification.digest(of: model).hex) conv=notrunc status=none"
    )
    try await refuses("wrong", ["wrong/blobs", "do not match its digest"], "a blob with wrong bytes")
    try await shell(
      "cp -r good short && truncate -s 5 short/blobs/sha256/\(Verification.digest(of: model).hex)"
    )
    try await refuses("short", ["short/blobs", "5 bytes"], "a blob of another size")
    try await shell(
      "cp -r good link && cd link/blobs/sha256 && mv \(Verification.digest(of: model).hex) ../../../away && ln -s ../../../away \(Verification.digest(of: model).hex)"
    )
    try await refuses("link", ["link/blobs", "symbolic link"], "a symbolic link out of the layout")
    try layout("other", [1, 2, 3])
    try await shell(
      "python3 -c \"import json;a=json.load(open('good/index.json'));b=json.load(open('other/index.json'));a['manifests']+=b['manifests'];json.dump(a,open('good/index.json','w'))\" && cp other/blobs/sha256/* good/blobs/sha256/"
    )
    try await refuses("good", ["good", "two of its manifests have the name"], "two manifests with one name")
    try folder.write([UInt8](repeating: 0, count: 5000), to: "zeros.tar")
    try await refuses("zeros.tar", ["zeros.tar"], "no archive at all")
    try folder.write(Array("{}".utf8), to: "empty/index.json")
    try await refuses("empty", ["empty", "no artifacts found"], "an empty index")
    try await refuses("nowhere", ["nowhere", "does not exist"], "a path that does not exist")
  }

  @Test func aBombOfNamesEndsSoon() async throws {
    // A million empty headers of 512 bytes, which gzip would compress to some kilobytes.
    try await shell(
      "python3 -c \"import tarfile;h=tarfile.TarInfo('x').tobuf();f=open('bomb.tar','wb');[f.write(h*1000) for _ in range(1001)]\""
    )
    let start = ContinuousClock.now
    let result = try await weightfs("load bomb.tar")
    #expect(result.status != 0 && result.error.contains("bomb.tar"), "\(result.error)")
    #expect(ContinuousClock.now - start < .seconds(30))
  }

  @Test func aBadArtifactInTheTreeDoesNotHarmTheOthers() async throws {
    try layout("good")
    #expect(try await weightfs("load good").status == 0)
    try await shell(
      """
      cd root/localhost/a/m && mkdir __json __nothing && echo '{"x"' >__json/index.json && cp __1/oci-layout __json/ &&
      echo no tar >__text.ommx && ln -s /etc/passwd __link.ommx && ln -s / __root && mkfifo __pipe.tar
      """
    )
    let mount = try await MountProcess(folder, ["--offline"])
    let listed = try await Command.shell("ls '\(mount.path("localhost/a/m"))'", seconds: 20)
    #expect(listed.output.contains("1\n"))
    try await shell("cmp '\(mount.path("localhost/a/m/1/model.gguf"))' '\(folder.write(model, to: "model"))'")
    for tag in ["json", "nothing", "text", "link", "root", "pipe"] {
      let result = try await Command.shell("ls '\(mount.path("localhost/a/m"))/\(tag)'", seconds: 20)
      #expect(result.status == 2, "\(tag) is an error, not a hang: \(result.output)")
    }
    let command = try await weightfs("ls")
    #expect(command.output.contains("localhost/a/m:1"), "\(command)")
    #expect(command.error.contains("__text.ommx"), "\(command.error)")
    #expect(try await weightfs("verify localhost/a/m:1").status == 0)
    let removed = try await weightfs("rm localhost/a/m:root")
    _ = removed
    #expect(FileManager.default.fileExists(atPath: "/etc/passwd"))
  }

  @Test func whatOthersWriteIntoALayoutHarmsNoOtherArtifact() async throws {
    let registry = try FaultyRegistry()
    for tag in ["a", "b"] {
      try registry.add(
        files: ["model.gguf": model],
        repository: "acme/m",
        tag: tag,
        annotations: ["tag": tag]
      )
    }
    let host = "root/\(registry.host.replacingOccurrences(of: ":", with: "__"))/acme/m"
    let hex = Verification.digest(of: model).hex
    for tag in ["a", "b"] { #expect(try await weightfs("pull \(registry.host)/acme/m:\(tag)").status == 0) }
    let mount = try await MountProcess(folder)
    let files = ["a", "b"].map { mount.path("\(registry.host)/acme/m:\($0)/model.gguf") }
    for script in [
      "truncate -s 100 \(host)/__a/blobs/sha256/\(hex)",
      "printf wrong | dd of=\(host)/__a/blobs/sha256/\(hex) conv=notrunc status=none",
      "cp --remove-destination /etc/hostname \(host)/__a/blobs/sha256/\(hex)",
      "chmod 600 \(host)/__a/blobs/sha256/\(hex)", "rm \(host)/__a/blobs/sha256/\(hex)",
      "skopeo copy -q --preserve-digests oci:\(host)/__b oci:\(host)/__a:copy",
    ] {
      try await shell(script)
      for file in files {
        let read = try await Command.shell("sha256sum <'\(file)'", seconds: 60)
        #expect(read.output.hasPrefix(hex), "\(script): \(read.error)\(mount.messages)")
      }
      let healed = folder.path("root/.weightfs/blobs/sha256/\(hex)")
      #expect(
        await eventually {
          (try? Data(contentsOf: URL(filePath: healed))).map { Array($0) == model } ?? false
        },
        "\(script): \(mount.messages)"
      )
    }
    #expect(try await weightfs("verify \(registry.host)/acme/m:b").status == 0)
  }

  @Test func aPullReplacesALayoutThatCannotBeRead() async throws {
    let registry = try FaultyRegistry()
    try registry.add(files: ["model.gguf": model], repository: "acme/m", tag: "t")
    let name = "\(registry.host)/acme/m:t"
    let place = folder.path("root/\(registry.host.replacingOccurrences(of: ":", with: "__"))/acme/m/__t")
    let hex = Verification.digest(of: model).hex
    for script in ["echo garbage >\(place)/index.json", "rm -rf \(place); echo garbage >\(place).ommx"] {
      #expect(try await weightfs("pull \(name)").status == 0)
      try await shell(script)
      let mount = try await MountProcess(folder)
      let looked = try await Command.shell("ls '\(mount.path("\(registry.host)/acme/m/t"))'", seconds: 20)
      #expect(
        looked.error.contains("Input/output error"),
        "a damaged local artifact is not absent: \(looked.error)"
      )
      let pulled = try await weightfs("pull \(name)")
      #expect(pulled.status == 0 && pulled.error.contains("fetched again"), "\(script): \(pulled.error)")
      #expect(try await weightfs("cat \(name) model.gguf | sha256sum").output.hasPrefix(hex))
    }
    // Files of another program are not removed.
    try layout("good")
    #expect(try await weightfs("load good").status == 0)
    try await shell("echo garbage >root/localhost/a/m/__1/index.json")
    #expect(try await weightfs("pull localhost/a/m:1").status == 6)
    #expect(folder.has("root/localhost/a/m/__1/index.json"))
  }
}
