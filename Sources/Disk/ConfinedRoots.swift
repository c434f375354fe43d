import CLinux
import Glibc
import Locking
package import SystemPackage

/// Directories below which no symbolic link is followed: the roots of the local registries of this process.
///
/// A link in a local registry could lead a daemon that runs as root to any file of the machine. The root
/// itself may be, or lie below, a symbolic link: it is opened once, and every path in it is opened relative
/// to that descriptor. If a root is deleted and created again, it is opened again. Paths elsewhere, such as
/// read-only stores, are used unchanged.
package enum ConfinedRoots {
  private struct Root {
    var descriptor: Int32
    let path: String
    let share: RootShare
    /// The directories to create again after the root was deleted and created again.
    let directories: [FilePath]
    /// The owner and group to set on new files; nil if new files have them anyway.
    let owner: (user: uid_t, group: gid_t)?
  }

  private static let own = ".weightfs"

  private static let roots = Mutex<[String: Root]>([:])
  private static let directory = O_DIRECTORY | O_CLOEXEC

  /// Opens a root, following links, and confines the paths below it.
  ///
  /// - Parameters:
  ///   - path: The path of the root.
  ///   - share: The users whose processes may use the root.
  ///   - directories: Directories below the root, created again if the root is deleted and created again.
  /// - Throws: `Errno` if the root cannot be opened.
  package static func register(
    _ path: FilePath,
    _ share: RootShare = .owner,
    directories: [FilePath] = []
  ) throws(Errno) {
    let descriptor = path.withPlatformString { Glibc.open($0, clinux_o_path | directory) }
    guard descriptor >= 0 else { throw Errno(rawValue: errno) }
    let surplus = roots.withLock { roots -> Int32? in
      if let known = roots[path.string], known.share == share, isSame(known.descriptor, descriptor) {
        return descriptor
      }
      // The descriptor of a deleted root stays open, as another thread may be using it.
      roots[path.string] = Root(
        descriptor: descriptor,
        path: path.string,
        share: share,
        directories: directories,
        owner: owner(of: descriptor)
      )
      return nil
    }
    if let surplus { close(surplus) }
  }

  private static func owner(of descriptor: Int32) -> (user: uid_t, group: gid_t)? {
    var status = stat()
    // Only root can change the owner of a file.
    guard geteuid() == 0, fstat(descriptor, &status) == 0, status.st_uid != 0 || status.st_gid != getegid()
    else {
      return nil
    }
    return (status.st_uid, status.st_gid)
  }

  /// Makes the directory of a root that is to be registered, also where a deleted one still is.
  ///
  /// - Parameters:
  ///   - path: of the root; its parent exists.
  ///   - mode: permissions, less the umask.
  /// - Returns: 0; -1 with errno.
  package static func makeRoot(_ path: FilePath, _ mode: CInterop.Mode) -> Int32 {
    path.withPlatformString { mkdir($0, mode) }
  }

  /// Makes a directory.
  ///
  /// - Parameters:
  ///   - path: The path of the directory.
  ///   - mode: The mode, for a directory that is not one of weightfs' own.
  /// - Returns: 0, or -1 with errno set.
  package static func makeDirectory(_ path: FilePath, _ mode: CInterop.Mode) -> Int32 {
    let root = root(of: path)
    let isOwn = root.map { Self.isOwn(path, $0) } ?? false
    // In a shared root the directories of layouts are shared too: every user adds tags to them.
    let isShared = root.map { $0.share != .owner } ?? false
    let permissions = isOwn || isShared ? root?.share.folderMode ?? mode : mode
    let result = at(path) { mkdirat($0, $1, permissions) }
    guard result == 0, let root else { return result }
    if let owner = root.owner {
      _ = at(path) { fchownat($0, $1, owner.user, owner.group, AT_SYMLINK_NOFOLLOW) }
    }
    // The umask of the process must not reduce the permissions of a root that is shared on purpose.
    if isShared {
      var status = stat()
      // The set-group-ID bit, which gives new files the group of the root, is inherited and stays.
      let isKnown = at(path) { fstatat($0, $1, &status, AT_SYMLINK_NOFOLLOW) } == 0
      let inherited = isKnown ? status.st_mode & S_ISGID : 0
      _ = at(path) { fchmodat($0, $1, permissions | inherited, 0) }
    }
    return 0
  }

  private static func isOwn(_ path: FilePath, _ root: Root) -> Bool {
    let rest = path.string.dropFirst(root.path.count).drop { $0 == "/" }
    return rest == own[...] || rest.hasPrefix("\(own)/")
  }

  /// Returns the permissions of a new file: weightfs' own writable files are restricted to the owner, or to
  /// the users who share the root.
  package static func permissions(of path: FilePath, _ mode: CInterop.Mode) -> CInterop.Mode {
    guard mode & 0o200 != 0, let root = root(of: path), isOwn(path, root),
      !path.string.hasPrefix("\(root.path)/\(own)/temporary")
    else { return mode }
    return root.share.fileMode
  }

  /// Sets the owner of the root on a new file, and restores the permissions that the umask removed.
  private static func settle(_ descriptor: Int32, _ path: FilePath, _ mode: CInterop.Mode) {
    guard let root = root(of: path) else { return }
    if let owner = root.owner {
      var status = stat()
      if fstat(descriptor, &status) == 0, status.st_uid != owner.user || status.st_gid != owner.group {
        fchown(descriptor, owner.user, owner.group)
      }
    }
    if root.share != .owner, isOwn(path, root) {
      var status = stat()
      if fstat(descriptor, &status) == 0, status.st_uid == geteuid() { fchmod(descriptor, mode) }
    }
  }

  private static func isSame(_ left: Int32, _ right: Int32) -> Bool {
    var (one, other) = (stat(), stat())
    return fstat(left, &one) == 0 && fstat(right, &other) == 0 && one.st_dev == other.st_dev
      && one.st_ino == other.st_ino && one.st_nlink > 0
  }

  /// Opens a file.
  ///
  /// - Returns: A descriptor, or -1 with errno set; ELOOP if a component of the path is a symbolic link.
  package static func open(_ path: FilePath, _ flags: Int32, _ mode: CInterop.Mode) -> Int32 {
    let isMade = flags & (O_CREAT | clinux_o_tmpfile & ~O_DIRECTORY) != 0
    let mode = isMade ? permissions(of: path, mode) : 0
    let descriptor = confined(path) { root, relative in
      openBelow(root, relative.isEmpty ? "." : relative, flags, mode)
    } elsewhere: {
      Glibc.open($0, flags, mode)
    }
    if isMade, descriptor >= 0 { settle(descriptor, path, mode) }
    return descriptor
  }

  /// Calls a function of the `…at` family with the directory that contains the last component of a path.
  ///
  /// - Returns: The result of the function, or -1 with errno set if the directory cannot be opened.
  package static func at(_ path: FilePath, _ body: (Int32, UnsafePointer<CChar>) -> Int32) -> Int32 {
    confined(path) { root, relative in
      guard let slash = relative.lastIndex(of: "/") else {
        return (relative.isEmpty ? "." : relative).withCString { body(root, $0) }
      }
      let parent = openBelow(root, String(relative[..<slash]), clinux_o_path | directory, 0)
      guard parent >= 0 else { return -1 }
      let result = String(relative[relative.index(after: slash)...]).withCString { body(parent, $0) }
      let error = errno
      close(parent)
      errno = error
      return result
    } elsewhere: {
      body(AT_FDCWD, $0)
    }
  }

  /// Whether a path is confined.
  package static func contains(_ path: FilePath) -> Bool { root(of: path) != nil }

  private static func root(of path: FilePath) -> Root? {
    let text = path.string
    return roots.withLock { roots in
      roots.values.filter { text == $0.path || text.hasPrefix($0.path + "/") }.max {
        $0.path.count < $1.path.count
      }
    }
  }

  private static func confined(
    _ path: FilePath,
    _ body: (Int32, String) -> Int32,
    elsewhere: (UnsafePointer<CChar>) -> Int32
  ) -> Int32 {
    guard let root = root(of: path) else { return path.withPlatformString(elsewhere) }
    let relative = String(path.string.dropFirst(root.path.count).drop { $0 == "/" })
    // The descriptor of a deleted root still answers for the root itself, which may have to be made again.
    if relative.isEmpty, isDeleted(root.descriptor) {
      guard let fresh = reopen(root) else {
        errno = ENOENT
        return -1
      }
      return body(fresh.descriptor, relative)
    }
    let result = body(root.descriptor, relative)
    guard result < 0, errno == ENOENT, isDeleted(root.descriptor), let fresh = reopen(root) else {
      return result
    }
    return body(fresh.descriptor, relative)
  }

  private static func isDeleted(_ descriptor: Int32) -> Bool {
    var status = stat()
    let isGone = fstat(descriptor, &status) == 0 && status.st_nlink == 0
    errno = ENOENT
    return isGone
  }

  /// Opens a root that was deleted and created again, and creates its directories.
  private static func reopen(_ root: Root) -> Root? {
    let path = FilePath(root.path)
    guard (try? register(path, root.share, directories: root.directories)) != nil else {
      errno = ENOENT
      return nil
    }
    // A directory that cannot be made fails at its first use, with its path.
    for directory in root.directories { try? Disk.createFolder(directory) }
    return roots.withLock { $0[root.path] }
  }

  // MARK: Opening below a directory

  /// Opens a file below a directory.
  ///
  /// - Parameter system: openat2(2) with RESOLVE_NO_SYMLINKS; returns a descriptor or a negative errno.
  static func openBelow(
    _ root: Int32,
    _ relative: String,
    _ flags: Int32,
    _ mode: CInterop.Mode,
    system: (Int32, String, Int32, CInterop.Mode) -> Int32 = {
      clinux_openat2($0, $1, $2, $3, clinux_resolve_no_symlinks)
    }
  ) -> Int32 {
    let result = system(root, relative, flags | O_CLOEXEC, mode)
    if result >= 0 { return result }
    // The kernel is too old, or a seccomp filter blocks the call.
    if result == -ENOSYS || result == -EPERM { return walk(root, relative, flags, mode) }
    errno = -result
    return -1
  }

  /// Opens the file component by component, for kernels without openat2(2).
  package static func walk(_ root: Int32, _ relative: String, _ flags: Int32, _ mode: CInterop.Mode) -> Int32
  {
    let names = relative.split(separator: "/").map(String.init)
    var current = dup(root)
    for (index, name) in names.enumerated() {
      guard current >= 0 else { return -1 }
      let isLast = index == names.count - 1
      let next =
        isLast
        ? openat(current, name, flags | O_CLOEXEC | O_NOFOLLOW, mode)
        : openat(current, name, clinux_o_path | directory | O_NOFOLLOW)
      var error = errno
      // Opening a link with O_DIRECTORY gives ENOTDIR.
      if next < 0, error == ENOTDIR {
        var status = stat()
        if fstatat(current, name, &status, AT_SYMLINK_NOFOLLOW) == 0, status.st_mode & S_IFMT == S_IFLNK {
          error = ELOOP
        }
      }
      close(current)
      errno = error
      current = next
    }
    return current
  }
}
