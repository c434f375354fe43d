import Artifacts
import Layouts
import ArgumentParser
import Content
import FileSystem
import Glibc
import LocalRegistry
import MountDaemon
import OCI
import SystemPackage

/// `weightfs load`.
struct Load: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Import artifacts from files and directories into the local registry.",
    discussion:
      "Detects the format: oci-dir, oci-archive or docker-archive. A loaded artifact is final until 'pull'."
  )

  @Argument(help: "Directories and files; '-' reads an archive from standard input.")
  var paths: [String]

  @Option(name: .customLong("as"), help: "The name of the artifact, if there is only one.")
  var name: String?

  @Option(help: "Format of the stored artifact: oci-dir or oci-archive.")
  var format: LayoutFormat?

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await ExitStatus.run {
      let name = try name.map { text throws(DocumentError) in try Reference(parsing: text) }
      let assembly = try common.assemble()
      try await EachReference.run(paths) { try await load($0, name, assembly) }
    }
  }

  func validate() throws {
    if paths.isEmpty { throw ValidationError("a path is required") }
    if name != nil, paths.count > 1 {
      throw ValidationError("--as names one artifact and takes only one path")
    }
  }

  private func load(_ path: String, _ name: Reference?, _ assembly: Assembly) async throws(ContentError) {
    let local = assembly.local
    let format = format ?? assembly.settings.localFormat
    if path == "-" {
      try await local.executor.run { () throws(ContentError) in
        try local.withSpooled(.standardInput) { (file) throws(ContentError) in
          let layout = try LayoutKind.detected.open(file, executor: local.executor)
          try Self.load(LayoutSource(layout, "standard input"), "standard input", name, format, local)
        }
      }
      return
    }
    let repository = try await assembly.layout(.detected, FilePath(AbsolutePath.of(path)))
    try await local.executor.run { () throws(ContentError) in
      try Self.load(LayoutSource(repository, path), path, name, format, local)
    }
  }

  private static func load(
    _ source: LayoutSource,
    _ label: String,
    _ name: Reference?,
    _ format: LayoutFormat,
    _ local: LocalRegistry
  ) throws(ContentError) {
    let entries = try source.entries()
    for problem in try source.problems() { Terminal.printError("weightfs: \(label): \(problem)") }
    if name != nil, entries.count != 1 {
      throw ContentError(
        .unsupported,
        label,
        "it has \(entries.count) artifacts, but --as names one",
        advice: entries.isEmpty ? nil : "It has \(entries.prefix(5).map(\.label).joined(separator: ", "))"
      )
    }
    guard !entries.isEmpty else { throw ContentError(.notFound, label, "no artifacts found") }
    // All entries are checked before one is imported, so that an error does not leave a part of them.
    let references = try entries.map { (entry) throws(ContentError) in
      guard let reference = name ?? entry.reference else {
        throw ContentError(
          .unsupported,
          label,
          "'\(ForeignText.visible(entry.label))' names no registry and repository",
          advice: "Give it a name with --as, such as --as localhost/team/model:1"
        )
      }
      _ = try source.contents(of: entry)
      return reference
    }
    for (entry, reference) in zip(entries, references) {
      let contents = try source.contents(of: entry)
      try local.put(contents, as: reference, format: format)
      Terminal.print("\(reference)\t\(entry.descriptor.digest)\t\(contents.size) bytes")
    }
  }
}
