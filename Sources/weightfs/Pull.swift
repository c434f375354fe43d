import ArgumentParser
import Content
import Fetching
import FileSystem
import LocalRegistry
import MountDaemon
import OCI

/// `weightfs pull`.
struct Pull: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Fetch artifacts whole into the local registry, and verify them."
  )

  @Argument(help: "References, such as ghcr.io/acme/gemma3:q4.")
  var references: [String]

  @Flag(help: "Say what would be fetched, and fetch only manifests.")
  var dryRun = false

  @OptionGroup var common: CommonOptions

  // Blobs of one artifact under way at once.
  private static let parallelBlobs = 4

  func run() async throws {
    try await ExitStatus.run {
      let parsed = try references.map { text throws(DocumentError) in try Reference(parsing: text) }
      let assembly = try common.assemble()
      var failure: ContentError?
      for reference in parsed {
        do {
          try await pull(reference, assembly)
        } catch let error as ContentError {
          // The others are fetched all the same; the first failure is the command's.
          Terminal.printError("weightfs: \(error)")
          failure = failure ?? error
        }
      }
      if let failure { throw ExitCode(ExitStatus.code(failure)) }
    }
  }

  private func pull(_ reference: Reference, _ assembly: Assembly) async throws {
    if let found = try await assembly.local.artifact(reference), found.isAdditional {
      Terminal.print("\(reference)\t\(found.descriptor.digest)\theld by \(found.repository.origin)")
      return
    }
    if let found = try await assembly.local.artifact(reference), found.repository is OCIArchive {
      let descriptor = try await assembly.resolver.resolve(reference, isFresh: true).descriptor
      guard descriptor.digest != found.descriptor.digest else {
        Terminal.print("\(reference)\t\(descriptor.digest)\tis complete in \(found.repository.origin)")
        return
      }
      throw ContentError(
        .unsupported,
        "\(reference)",
        "\(found.repository.origin) holds another version, and archives are not written yet",
        advice: "Move the archive away and pull again"
      )
    }
    let artifact = try await assembly.load(.reference(reference), isFresh: true, isRecorded: !dryRun)
    var missing: Int64 = 0
    var total: Int64 = 0
    for blob in artifact.blobs {
      let status = await assembly.store.status(blob, layout: artifact.layout)
      total += blob.size
      missing += blob.size - status.cachedBytes
    }
    if dryRun {
      Terminal.print("\(reference)\t\(artifact.root.digest)\t\(missing) of \(total) bytes to fetch")
      return
    }
    var blobs: [LazyBlob] = []
    for descriptor in artifact.blobs {
      blobs.append(
        try await assembly.store.open(descriptor, layout: artifact.layout, source: artifact.source)
      )
    }
    try await complete(blobs, label: "\(reference)", total: total, missing: missing)
    Terminal.print("\(reference)\t\(artifact.root.digest)\t\(total) bytes")
  }

  private func complete(
    _ blobs: [LazyBlob],
    label: String,
    total: Int64,
    missing: Int64
  ) async throws(ContentError) {
    let display = Progress.show(label, total: total, missing: missing) {
      blobs.reduce(0) { $0 + $1.status.cachedBytes }
    }
    let failure: ContentError?
    do throws(ContentError) {
      try await ParallelWork.run(blobs, limit: Self.parallelBlobs) { (blob) async throws(ContentError) in
        try await blob.complete()
      }
      failure = nil
    } catch {
      failure = error
    }
    await display.end()
    if let failure { throw failure }
  }
}
