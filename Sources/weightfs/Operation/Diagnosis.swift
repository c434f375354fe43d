import Content
import Glibc
import SystemPackage

/// One line of `weightfs doctor`: what was looked at, the result, and what to do.
struct Finding: Equatable {
  enum Level: String {
    case good = "ok"
    case notice = "note"
    case bad = "FAIL"
  }

  let level: Level
  let subject: String
  let text: String
  /// What to do; nil if nothing has to be done.
  let advice: String?

  init(_ level: Level, _ subject: String, _ text: String, advice: String? = nil) {
    self.level = level
    self.subject = subject
    self.text = text
    self.advice = advice
  }

  var line: String {
    let mark = Terminal.padded(level.rawValue, 5)
    return "\(mark) \(subject): \(text)" + (advice.map { ". \($0)" } ?? "")
  }
}

/// What a mount needs of this machine.
///
/// Reads the state of the system, and changes nothing.
enum Diagnosis {
  private static let devicePath = "/dev/fuse"
  private static let configurationPath = "/etc/fuse.conf"
  // Bit of CAP_SYS_ADMIN (capabilities(7)).
  private static let administration: UInt64 = 1 << 21
  // The first kernel with passthrough for FUSE.
  private static let passthroughKernel = (6, 9)

  static func machine() -> [Finding] { [device(), helper(), otherUsers(), kernel(), capability()] }

  private static func device() -> Finding {
    let descriptor = open(devicePath, O_RDWR | O_CLOEXEC)
    guard descriptor < 0 else {
      close(descriptor)
      return Finding(.good, devicePath, "can be opened")
    }
    let reason = Errno(rawValue: errno)
    let advice =
      switch reason {
      case .noSuchFileOrDirectory: "Load the module (modprobe fuse), or give the container --device /dev/fuse"
      case .notPermitted: "The cgroup of the container forbids the device: --device /dev/fuse"
      default: "Its mode must allow this user to read and write: chmod 0666 \(devicePath)"
      }
    return Finding(.bad, devicePath, "\(reason)", advice: advice)
  }

  private static func helper() -> Finding {
    if geteuid() == 0 { return Finding(.good, "fusermount3", "root does not need it") }
    let path = program("fusermount3")
    guard let path else {
      return Finding(.bad, "fusermount3", "is not in PATH", advice: "Install the package fuse3")
    }
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_ISUID != 0, status.st_uid == 0 else {
      return Finding(.bad, path, "has no set-user-ID bit of root", advice: "Install the package fuse3 again")
    }
    return Finding(.good, path, "has the set-user-ID bit of root")
  }

  /// Returns the path of a program in PATH.
  private static func program(_ name: String) -> String? {
    let path = CommonOptions.environment["PATH"] ?? "/usr/bin:/bin"
    return path.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
  }

  private static func otherUsers() -> Finding {
    guard geteuid() != 0 else { return Finding(.good, "--allow-other", "root may use it") }
    let lines = text(of: configurationPath)?.split(separator: "\n") ?? []
    let isAllowed = lines.contains { $0.drop { $0 == " " }.hasPrefix("user_allow_other") }
    return isAllowed
      ? Finding(.good, "--allow-other", "\(configurationPath) allows it")
      : Finding(
        .notice,
        "--allow-other",
        "\(configurationPath) does not allow it for users other than root",
        advice: "Add the line user_allow_other if other users must read the mount"
      )
  }

  private static func kernel() -> Finding {
    var name = utsname()
    guard uname(&name) == 0 else { return Finding(.notice, "kernel", "\(Errno(rawValue: errno))") }
    let release = withUnsafeBytes(of: name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    return kernel(release: release)
  }

  /// Judges the release of a kernel, such as `6.12.0-1-amd64`.
  static func kernel(release: String) -> Finding {
    let numbers = release.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
    let isNew = numbers.count == 2 && (numbers[0], numbers[1]) >= passthroughKernel
    return isNew
      ? Finding(.good, "kernel", "\(release) has passthrough")
      : Finding(
        .notice,
        "kernel",
        "\(release) has no passthrough (6.9): the daemon serves complete files too"
      )
  }

  private static func capability() -> Finding {
    let line = text(of: "/proc/self/status")?.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
    let mask = line.flatMap { UInt64($0.dropFirst(7).filter { $0.isHexDigit }, radix: 16) } ?? 0
    return mask & administration != 0
      ? Finding(.good, "CAP_SYS_ADMIN", "is there: complete files use passthrough")
      : Finding(.notice, "CAP_SYS_ADMIN", "is missing: no passthrough, the daemon serves complete files too")
  }

  private static func text(of path: String) -> String? {
    guard let file = fopen(path, "re") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes[..<count], as: UTF8.self)
  }
}
