import Foundation
import TestSupport
import Testing

/// `weightfs resolve` and `weightfs checkout`.
@Suite(.serialized) struct ResolveTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry
  private static let model = ModelFile.gguf(3_000_000, seed: 9)
  private var name: String { "\(registry.host)/acme/m:t" }

  private struct Answer: Decodable, Equatable {
    let reference: String
    let path: String
    let format: String
  }

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(
      files: ["model.gguf": Self.model, "docs/README.md": Array("read\n".utf8)],
      repository: "acme/m",
      tag: "t"
    )
  }

  /// Unmounts what `resolve` has mounted in the runtime directory of the test.
  private func unmountAll() async throws {
    _ = try await Command.shell(
      "for m in $(awk '$2 ~ \"^\(folder.path)/\" {print $2}' /proc/mounts); do umount -l \"$m\"; done"
    )
  }

  private func resolve(_ words: String) async throws -> (Command.Result, Answer?) {
    let result = try await WeightfsCommand.run("resolve \(words)", in: folder)
    // No answer is an answer of its own, which the tests compare.
    return (result, try? JSONDecoder().decode(Answer.self, from: Data(result.output.utf8)))
  }

  @Test func anEngineGetsOneLineAndTwoCallsShareAMount() async throws {
    let line = WeightfsCommand.line("resolve \(name)", in: folder)
    let both = try await Command.shell(
      "(\(line)) >'\(folder.path("a"))' & p=$!; (\(line)) >'\(folder.path("b"))' && wait $p",
      environment: ["HOME": folder.path, "XDG_RUNTIME_DIR": folder.path]
    )
    #expect(both.status == 0, "\(both.error)")
    let text = String(decoding: try folder.read("a"), as: UTF8.self)
    #expect(text == String(decoding: try folder.read("b"), as: UTF8.self))
    #expect(text.filter { $0 == "\n" }.count == 1)
    let answer = try JSONDecoder().decode(Answer.self, from: Data(text.utf8))
    #expect(answer.reference == name && answer.format == "gguf")
    #expect(answer.path.hasPrefix("\(folder.path)/weightfs/"))
    #expect(FileManager.default.contents(atPath: answer.path) == Data(Self.model))
    let mounts = try await Command.shell("grep -c ' \(folder.path)/weightfs/' /proc/mounts")
    #expect(mounts.output == "1\n")
    // `path` finds the mount, too.
    let path = try await WeightfsCommand.run("path \(name)", in: folder)
    #expect(path.output == "\(answer.path)\n", "\(path.error)")
    try await unmountAll()
  }

  @Test func aMountOfTheArtifactItselfIsUsed() async throws {
    let mount = try await MountProcess(folder, source: name)
    let (result, answer) = try await resolve(name)
    #expect(answer?.path == mount.path("model.gguf"), "\(result.error)")
    let path = try await WeightfsCommand.run("path \(name)", in: folder)
    #expect(path.output == mount.path("model.gguf") + "\n", "\(path.error)")
  }

  @Test func withoutFUSETheFilesAreCheckedOut() async throws {
    let (result, answer) = try await resolve("--no-fuse \(name)")
    let path = try #require(answer?.path, "\(result.error)")
    #expect(FileManager.default.contents(atPath: path) == Data(Self.model))
    let mounts = try await Command.shell("grep -c '\(folder.path)' /proc/mounts")
    #expect(mounts.output == "0\n")
    // The second call finds the files, also without the registry.
    registry.server.stop()
    let (again, same) = try await resolve("--no-fuse --no-pull \(name)")
    #expect(same == answer, "\(again.error)")
  }

  @Test func withoutAPullOnlyACompleteModelIsAnswered() async throws {
    let (absent, none) = try await resolve("--no-pull --no-fuse \(name)")
    #expect(absent.status == 3 || absent.status == 5, "\(absent.error)")
    #expect(none == nil && absent.output.isEmpty)
    // Known, but not complete.
    _ = try await WeightfsCommand.run("inspect \(name)", in: folder)
    let (partial, nothing) = try await resolve("--no-pull --no-fuse \(name)")
    #expect(partial.status != 0 && nothing == nil && partial.output.isEmpty)
    #expect(partial.error.contains("weightfs pull"), "\(partial.error)")
    _ = try await WeightfsCommand.run("pull \(name)", in: folder)
    let (complete, answer) = try await resolve("--no-pull --no-fuse \(name)")
    #expect(answer?.format == "gguf", "\(complete.error)")
  }

  @Test func whatNoEngineOpensFailsWithItsReason() async throws {
    try registry.add(files: ["model.onnx": [1, 2, 3]], repository: "acme/onnx", tag: "t")
    try registry.add(files: ["m-00001-of-00002.gguf": Self.model], repository: "acme/half", tag: "t")
    for (repository, reason) in [
      ("onnx", "neither GGUF nor safetensors"), ("half", "m-00002-of-00002.gguf"), ("none", "not"),
    ] {
      let (result, answer) = try await resolve("\(registry.host)/acme/\(repository):t")
      #expect(result.status != 0 && answer == nil && result.output.isEmpty)
      #expect(result.error.contains(reason), "\(result.error)")
    }
    let refused = try await WeightfsCommand.run(
      "inspect --require-complete \(registry.host)/acme/half:t",
      in: folder
    )
    #expect(refused.status == 6, "\(refused.error)")
  }

  @Test func aCheckoutHasTheFilesModesAndLinks() async throws {
    var tar = TarMaker()
    tar.add("models/sub/model.safetensors", content: ModelFile.safetensors([("a", 4096)]))
    tar.add("models/link", type: "2", target: "sub/model.safetensors")
    try LayoutMaker.writeImage(folder, "layout", layer: tar.finished, reference: "v")
    let result = try await WeightfsCommand.run("checkout oci:layout:v out", in: folder)
    #expect(result.status == 0, "\(result.error)")
    let shown = try await Command.shell(
      "cd '\(folder.path("out"))' && find . -type f -printf '%p %m\\n' && readlink link && cmp link sub/model.safetensors"
    )
    #expect(shown.output == "./sub/model.safetensors 444\nsub/model.safetensors\n", "\(shown.error)")
    // What is there is never overwritten, and a failed attempt leaves nothing.
    let again = try await WeightfsCommand.run("checkout oci:layout:v out", in: folder)
    #expect(again.status == 1 && again.error.contains("not empty"), "\(again.error)")
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: folder.path).allSatisfy { !$0.contains("partial") }
    )
    let one = try await WeightfsCommand.run("checkout \(name) plain", in: folder)
    #expect(one.status == 0, "\(one.error)")
    #expect(try folder.read("plain/model.gguf") == Self.model)
  }

  @Test func aMountWithoutOpenFilesEndsItself() async throws {
    let mount = try await MountProcess(folder, ["--idle-exit", "1"], environment: [:])
    let process = mount.process
    let held = try await Command.shell(
      "exec 3<'\(mount.path("\(registry.host)/acme/m/t/model.gguf"))'; sleep 2.5; kill -0 \(process)"
    )
    #expect(held.status == 0, "an open file keeps the mount")
    #expect(await eventually { kill(process, 0) != 0 })
    let mounts = try await Command.shell("grep -c ' \(mount.mountPoint) ' /proc/mounts")
    #expect(mounts.output == "0\n")
  }
}
