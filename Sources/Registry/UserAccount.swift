import Glibc

/// The user that owns the credential files, from the system's user database: the environment may not name it.
package struct UserAccount: Sendable {
  package let identifier: UInt32
  /// The home directory from passwd(5); nil for a user that is not listed.
  package let home: String?

  /// Creates a user account.
  ///
  /// - Parameters:
  ///   - identifier: The user ID.
  ///   - home: The home directory; nil if unknown.
  package init(identifier: UInt32, home: String?) {
    self.identifier = identifier
    self.home = home
  }

  /// The effective user of this process.
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

  /// Returns whether this user owns a directory and no other user can write to it.
  func owns(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0 && status.st_uid == identifier && status.st_mode & S_IFMT == S_IFDIR
      && status.st_mode & 0o022 == 0
  }
}
