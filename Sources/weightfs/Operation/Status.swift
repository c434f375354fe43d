import ArgumentParser
import Content
import Glibc
import MountDaemon
import OCI

/// `weightfs status`.
struct Status: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what mounts do: open files, fetches, waiting reads, the cache, endpoints, failures.",
    discussion:
      "Without a mount point all mounts of this user are shown. The exit status is 3 if there is none."
  )

  @Argument(help: "The mount point.")
  var mountPoint: String?

  @Flag(help: "Print JSON: an array with one object per mount.")
  var json = false

  @Flag(help: "Show the status again every second until interrupted.")
  var watch = false

  func run() async throws {
    signal(SIGPIPE, SIG_IGN)
    try await ExitStatus.run {
      guard watch else { return try show() }
      let isTerminal = isatty(STDOUT_FILENO) == 1
      while true {
        if isTerminal { Terminal.write("\u{1b}[H\u{1b}[2J", to: STDOUT_FILENO) }
        try show()
        try await Task.sleep(for: .seconds(1))
      }
    }
  }

  private func show() throws(ContentError) {
    let answers = try Self.answers(mountPoint)
    guard !json else {
      let parts = answers.map { String(decoding: $0, as: UTF8.self).trimmingLineFeed }
      return Terminal.print("[\(parts.joined(separator: ","))]")
    }
    let statuses = answers.compactMap { MountStatus(json: $0) }
    Terminal.print(statuses.map { StatusTable.text($0) }.joined(separator: "\n\n"))
  }

  /// Asks the daemon of a mount, or those of all mounts that belong to this user.
  static func answers(_ mountPoint: String?) throws(ContentError) -> [[UInt8]] {
    if let mountPoint { return [try ask(AbsolutePath.of(mountPoint), "GET /status")] }
    var found: [[UInt8]] = []
    for mount in MountPoints.all() where mount.isWeightfs {
      // A mount of another user, or of a daemon that has died, does not answer.
      if let answer = try? ask(mount.path, "GET /status") { found.append(answer) }
    }
    guard !found.isEmpty else {
      throw ContentError(
        .notFound,
        "status",
        "no mount of this user answers",
        advice: "'weightfs mount' mounts"
      )
    }
    return found
  }

  /// Sends a request to the daemon of a mount.
  ///
  /// - Parameters:
  ///   - mountPoint: The absolute path of the mount.
  ///   - request: A method and a path.
  /// - Throws: `ContentError` of code `notFound` if no daemon answers.
  static func ask(_ mountPoint: String, _ request: String) throws(ContentError) -> [UInt8] {
    var failure: ContentError?
    for path in RuntimeDirectory.controlSockets(of: mountPoint) {
      do throws(ContentError) {
        return try ControlClient.ask(path, request)
      } catch {
        guard error.code == .notFound else { throw error }
        failure = failure ?? error
      }
    }
    throw ContentError(
      .notFound,
      mountPoint,
      "no daemon of this user answers for this mount point",
      advice: "'weightfs status' lists the mounts; the mounts of root need sudo",
      underlying: failure
    )
  }
}

extension String {
  fileprivate var trimmingLineFeed: String { hasSuffix("\n") ? String(dropLast()) : self }
}
