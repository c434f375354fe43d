import ArgumentParser
import Content
import Glibc
import OCI

/// `weightfs wait`.
struct Wait: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Wait until an artifact or a path can be read, for init containers and scripts.",
    discussion: """
      PATH is absolute, and usually below a mount point; a reference is looked up below a mount of the tree. The path is \
      printed. The exit status is 5 if the time is over.
      """
  )

  @Argument(help: ArgumentHelp("A reference, or an absolute path.", valueName: "reference|path"))
  var subject: String

  @Option(help: ArgumentHelp("Seconds.", valueName: "number"))
  var timeout: Int = 300

  private static let interval: Duration = .milliseconds(250)

  func validate() throws {
    guard (1...86_400).contains(timeout) else { throw ValidationError("--timeout takes 1 to 86400 seconds") }
    if !subject.hasPrefix("/") { _ = try Reference(parsing: subject) }
  }

  func run() async throws {
    try await ExitStatus.run {
      let end = ContinuousClock.now + .seconds(timeout)
      while true {
        let path = try place()
        let left = min(max(end - .now, .seconds(1)), .seconds(30))
        if let path, try Subprocess.readThrough(path, limit: left, isQuiet: true) == 0 {
          return Terminal.print(path)
        }
        guard .now < end else {
          let reason = path == nil ? "no tree of models is mounted" : "\(path ?? "") cannot be read"
          throw ContentError(
            .timedOut,
            subject,
            "after \(timeout) s \(reason)",
            advice: "'weightfs status' and the log of the mount say more"
          )
        }
        try await Task.sleep(for: Self.interval)
      }
    }
  }

  /// The path to look at; nil while no tree is mounted.
  private func place() throws -> String? {
    if subject.hasPrefix("/") { return subject }
    let reference = try Reference(parsing: subject)
    let tree = MountPoints.all().last { $0.isWeightfs && $0.source.hasPrefix("weightfs:") }
    return tree.map { "\($0.path)/\(reference.stored)" }
  }
}
