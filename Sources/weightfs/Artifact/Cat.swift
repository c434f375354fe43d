import Artifacts
import Disk
import ArgumentParser
import ArtifactTree
import Content
import Fetching
import FileSystem
import Glibc
import LocalRegistry
import MountDaemon
import OCI
import SystemPackage

/// `weightfs cat`.
struct Cat: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a file to standard output, after its complete blob was verified."
  )

  @Argument(help: "\(ArtifactSource.forms).")
  var source: String

  @Argument(help: "The file's path in the artifact.")
  var file: String

  @OptionGroup var common: CommonOptions

  func run() async throws {
    try await ExitStatus.run {
      let (artifact, assembly) = try await common.loadStrictly(source)
      guard let node = artifact.tree.resolve(file), case .file(let content) = artifact.tree.nodes[node].kind
      else {
        throw ContentError(
          .notFound,
          "\(artifact.label): \(ForeignText.visible(file))",
          artifact.tree.withheld.first { $0.path == file }?.text ?? "the artifact has no such file"
        )
      }
      let blob = try await assembly.open(content.blob, of: artifact)
      try await blob.complete()
      guard let complete = blob.completeFile else {
        throw ContentError(.disk, "\(content.blob.digest)", "the verified blob was removed")
      }
      try await assembly.local.executor.run { () throws(ContentError) in
        try Self.copy(content, from: complete)
      }
    }
  }

  private static func copy(_ content: FileContent, from file: BlobFile) throws(ContentError) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    var position: Int64 = 0
    while position < content.size {
      let wanted = Int(min(Int64(buffer.count), content.size - position))
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted])
      do throws(Errno) {
        let count = try file.read(into: part, at: content.offset + position)
        guard count > 0 else { throw Errno.ioError }
        try write(UnsafeRawBufferPointer(rebasing: part[..<count]))
        position += Int64(count)
      } catch {
        throw ContentError(.disk, "\(file.path)", "\(error)")
      }
    }
  }

  private static func write(_ bytes: UnsafeRawBufferPointer) throws(Errno) {
    var done = 0
    while done < bytes.count {
      let count = Glibc.write(STDOUT_FILENO, bytes.baseAddress.map { $0 + done }, bytes.count - done)
      if count < 0 {
        if errno == EINTR { continue }
        // The reader closed the pipe, which is not a failure: `weightfs cat … | head`.
        if errno == EPIPE { Glibc.exit(0) }
        throw Errno(rawValue: errno)
      }
      done += count
    }
  }
}
