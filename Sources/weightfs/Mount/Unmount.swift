import ArgumentParser
import Content
import Glibc
import SystemPackage

/// `weightfs unmount`.
struct Unmount: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Unmount, and end the daemon of the mount.",
    aliases: ["umount"]
  )

  @Argument(help: "The mount point.")
  var mountPoint: String

  @Flag(help: "Detach the mount now, and end it once it is no longer in use.")
  var lazy = false

  func run() async throws {
    try await ExitStatus.run {
      guard let mount = MountPoints.all().last(where: { $0.path == AbsolutePath.of(mountPoint) }) else {
        throw ContentError(.notFound, mountPoint, "nothing is mounted there")
      }
      guard mount.isWeightfs else { throw ContentError(.invalid, mountPoint, "is not a mount of weightfs") }
      if geteuid() == 0 {
        guard umount2(mount.path, lazy ? Int32(MNT_DETACH) : 0) == 0 else { throw failure(errno) }
      } else {
        let words = ["fusermount3", lazy ? "-uz" : "-u", mount.path]
        guard try Subprocess.run(words) == 0 else {
          throw ContentError(.disk, mountPoint, "fusermount3 could not unmount it")
        }
      }
    }
  }

  private func failure(_ code: Int32) -> ContentError {
    let advice =
      code == EBUSY ? "The mount is in use: close files and leave directories below it, or use --lazy" : nil
    return ContentError(.disk, mountPoint, "\(Errno(rawValue: code))", advice: advice)
  }
}
