import Glibc

/// The user whose files are read, by the system's own list: the environment may say nothing of it.
package struct UserAccount: Sendable {
  package let identifier: UInt32
  /// The home directory of passwd(5); nil for a user that is not listed.
  package let home: String?

  /// Names a user.
  ///
  /// - Parameters:
  ///   - identifier: by number.
  ///   - home: its home directory.
  package init(identifier: UInt32, home: String?) {
    self.identifier = identifier
    self.home = home
  }

  /// The user that this process acts for.
  package static var current: UserAccount {
    let identifier = geteuid()
    var entry = passwd()
    var found: UnsafeMutablePointer<passwd>?
    var buffer = [CChar](repeating: 0, count: 16 << 10)
    let status = getpwuid_r(identifier, &entry, &buffer, buffer.count, &found)
    guard status == 0, let found, let home = found.pointee.pw_dir else {
      return UserAccount(identifier: identifier, home: nil)
    }
    return UserAccount(identifier: identifier, home: String(cString: home))
  }

  /// Whether a directory is this user's and nobody else can write to it.
  func owns(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0 && status.st_uid == identifier && status.st_mode & S_IFMT == S_IFDIR
      && status.st_mode & 0o022 == 0
  }
}
