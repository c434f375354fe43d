import Foundation
import TestSupport
import Testing

/// Components of a path that are longer than 255 bytes: each call that the kernel hands down fails as on a disk.
///
/// The kernel itself only refuses names that are much longer; unlink, rmdir and rename are EROFS before it looks
/// the name up.
@Suite(.serialized) struct LongNameTests {
  private let folder: TemporaryFolder
  private let registry: FaultyRegistry

  init() throws {
    folder = try TemporaryFolder()
    registry = try FaultyRegistry()
    try registry.add(files: ["a.bin": [1, 2, 3]], repository: "acme/m", tag: "t")
  }

  private static let script = """
    import ctypes, errno, json, os, sys
    libc = ctypes.CDLL(None, use_errno=True)
    def access(path):
        if libc.access(path.encode(), os.R_OK) != 0: raise OSError(ctypes.get_errno(), path)
    calls = {
        'access': access, 'stat': os.stat, 'lstat': os.lstat, 'statvfs': os.statvfs,
        'open': lambda path: os.open(path, os.O_RDONLY),
        'open a directory': lambda path: os.open(path, os.O_RDONLY | os.O_DIRECTORY),
        'create': lambda path: os.open(path, os.O_WRONLY | os.O_CREAT, 0o600),
        'readlink': os.readlink, 'chdir': os.chdir, 'listdir': os.listdir,
        'getxattr': lambda path: os.getxattr(path, 'user.weightfs.digest'),
        'lgetxattr': lambda path: os.getxattr(path, 'user.weightfs.digest', follow_symlinks=False),
        'listxattr': os.listxattr, 'execve': lambda path: os.execv(path, ['x']),
        'chmod': lambda path: os.chmod(path, 0o600), 'truncate': lambda path: os.truncate(path, 0),
        'utime': os.utime, 'mkdir': os.mkdir, 'mknod': os.mknod, 'symlink': lambda path: os.symlink('x', path),
        'link': lambda path: os.link(sys.argv[1], path), 'below': lambda path: os.stat(path + '/x'),
    }
    found = {}
    for place in sys.argv[3:]:
        for name, call in calls.items():
            try: call(os.path.join(sys.argv[1], place, 'n' * int(sys.argv[2])))
            except OSError as error: answer = errno.errorcode[error.errno]
            else: answer = 'none'
            found['%s at "%s"' % (name, place)] = answer
    json.dump(found, sys.stdout)
    """

  /// Returns the errors of all calls for a name of some length, in some directories of a mount.
  private func errors(_ mount: MountProcess, length: Int, _ places: [String]) async throws -> [String: String]
  {
    try folder.write(Array(Self.script.utf8), to: "names.py")
    let result = try await Command.run(
      ["timeout", "60", "python3", folder.path("names.py"), mount.mountPoint, "\(length)"] + places
    )
    #expect(result.status == 0, "\(result.error)")
    return try JSONDecoder().decode([String: String].self, from: Data(result.output.utf8))
  }

  @Test(arguments: [256, 1000])
  func everyCallWithALongerNameIsENAMETOOLONGWithoutARequest(_ length: Int) async throws {
    let mount = try await MountProcess(folder)
    let artifact = "\(registry.host)/acme/m/t"
    let listed = try await Command.shell("ls '\(mount.path(artifact))'")
    try #require(listed.output == "a.bin\n", "\(listed.error)")
    registry.server.forgetRequests()
    let places = ["", registry.host, "\(registry.host)/acme", artifact]
    let found = try await errors(mount, length: length, places)
    #expect(found.count == 22 * places.count)
    for (call, answer) in found where answer != "ENAMETOOLONG" {
      Issue.record("\(call): \(answer)")
    }
    #expect(registry.server.requests.isEmpty, "\(registry.server.requests.map(\.path))")
  }

  @Test func aNameOf255BytesIsAbsentOrReadOnly() async throws {
    let mount = try await MountProcess(folder)
    let found = try await errors(mount, length: 255, ["", "\(registry.host)/acme/m/t"])
    #expect(!found.isEmpty)
    for (call, answer) in found where answer != "ENOENT" && answer != "EROFS" {
      Issue.record("\(call): \(answer)")
    }
  }
}
