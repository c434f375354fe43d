import ArgumentParser
import Content
import Glibc
import OCI
import SystemPackage

/// `weightfs health`.
struct Health: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check that a mount answers, by reading through it within a time limit.",
    discussion: """
      The exit status is 0 if the mount answers, and 1 if not: for probes and watchdogs. With --reference the first bytes of \
      every file of that artifact are read, which fetches them if they are absent.
      """
  )

  @Argument(help: "The mount point.")
  var mountPoint: String

  @Option(help: ArgumentHelp("Read from this artifact, below a mount of the tree.", valueName: "reference"))
  var reference: String?

  @Option(help: ArgumentHelp("Seconds.", valueName: "number"))
  var timeout: Int = 10

  func validate() throws {
    guard (1...3600).contains(timeout) else { throw ValidationError("--timeout takes 1 to 3600 seconds") }
    if let reference { _ = try Reference(parsing: reference) }
  }

  func run() async throws {
    try await ExitStatus.run {
      let point = AbsolutePath.of(mountPoint)
      guard MountPoints.all().contains(where: { $0.path == point && $0.isWeightfs }) else {
        throw ContentError(.disk, mountPoint, "weightfs is not mounted there")
      }
      let path = try reference.map { "\(point)/\(try Reference(parsing: $0).stored)" } ?? point
      let limit = Duration.seconds(timeout)
      let status = try Subprocess.readThrough(path, isDeep: reference != nil, limit: limit)
      guard status == 0 else {
        let reason = status == Subprocess.timedOut ? "did not answer within \(timeout) s" : "does not answer"
        throw ContentError(
          .disk,
          mountPoint,
          "the mount \(reason)",
          advice: "'weightfs status' and the log say more"
        )
      }
    }
  }
}

/// `weightfs read-through`: the reads of `weightfs health`, in a process that can be killed.
struct ReadThrough: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "read-through",
    abstract: "Read the first bytes of files.",
    shouldDisplay: false
  )

  @Argument var path: String
  @Flag var deep = false

  // Bytes of each file.
  private static let count = 4096
  // Files that are read.
  private static let fileLimit = 64

  func run() throws {
    var disk = statvfs()
    // Always sent to the daemon: other answers may come from the kernel's cache.
    guard statvfs(path, &disk) == 0 else { throw fail("statvfs") }
    guard deep else { return }
    var read = 0
    var directories = [path]
    while let directory = directories.popLast() {
      guard let stream = opendir(directory) else { throw fail(directory) }
      defer { closedir(stream) }
      while let entry = readdir(stream), read < Self.fileLimit {
        let name = withUnsafeBytes(of: entry.pointee.d_name) {
          String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        guard name != ".", name != ".." else { continue }
        let child = "\(directory)/\(name)"
        var status = stat()
        guard lstat(child, &status) == 0 else { throw fail(child) }
        switch status.st_mode & S_IFMT {
        case S_IFDIR: directories.append(child)
        case S_IFREG:
          try readStart(of: child, status.st_size)
          read += 1
        default: break
        }
      }
    }
    guard read > 0 else { throw fail("\(path): no file") }
  }

  private func readStart(of file: String, _ size: off_t) throws {
    let descriptor = Glibc.open(file, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw fail(file) }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: min(Self.count, max(1, Int(size))))
    guard pread(descriptor, &bytes, bytes.count, 0) == min(bytes.count, Int(size)) else { throw fail(file) }
  }

  private func fail(_ subject: String) -> ExitCode {
    Terminal.printError("weightfs: \(subject): \(Errno(rawValue: errno))")
    return ExitCode(1)
  }
}
