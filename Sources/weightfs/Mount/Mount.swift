import Disk
import Artifacts
import Layouts
import BlobCache
import ArgumentParser
import Configuration
import Content
import Dispatch
import Fetching
import FileSystem
import Glibc
import LocalRegistry
import Logging
import MountDaemon
import OCI
import SystemPackage

/// `weightfs mount`.
struct Mount: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Mount all models, or one artifact.",
    discussion: """
      'weightfs mount /mnt/models' shows every registry. 'weightfs mount SOURCE /mnt/model' shows one artifact; \
      SOURCE is a reference, or a layout on this machine: oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE, \
      dir:DIR (skopeo), or a path such as ./file.tar.gz, whose form is found out by looking.
      """
  )

  @Argument(help: ArgumentHelp("[SOURCE] MOUNTPOINT", valueName: "arguments"))
  var arguments: [String]

  @OptionGroup var common: CommonOptions

  @Flag(help: "Stay in the foreground and log to standard error.")
  var foreground = false

  @Option(help: .option("verify")) var verify: FetchPolicy.Verify = .deferred
  @Option(help: .option("fill")) var fill: FetchPolicy.Fill = .background
  @Option(help: .option("list")) var list: FileSystemOptions.Listing = .tags
  @Option(help: .option("ttl")) var ttl: Int = 60
  @Option(help: .option("stale-wait")) var staleWait: Int = 1
  @Option(help: .option("namespace-depth")) var namespaceDepth: Int = 3
  @Option(help: .option("namespace")) var namespace: [String] = []
  @Option(help: .option("materialize")) var materialize: ByteCount?
  @Flag(help: .option("allow-other")) var allowOther = false
  @Option(help: .option("fetch-for")) var fetchFor: FileSystemOptions.FetchFor = .all
  @Option(help: .option("uid")) var uid: UInt32?
  @Option(help: .option("gid")) var gid: UInt32?
  @Option(help: .option("umask")) var umask: String = "000"
  @Option(help: .option("log-file")) var logFile: String?
  @Option(help: .option("metrics")) var metrics: String?
  @Option(help: .option("idle-exit")) var idleExit: Int?
  @Option(help: .option("stop-timeout")) var stopTimeout: Int = 30

  @Option(
    name: .customShort("o"),
    help: ArgumentHelp(
      "Options as in fstab: every option above with '_' for '-', and for the kernel noexec, max_read=BYTES, context=, fscontext=, defcontext=, rootcontext=.",
      valueName: "options"
    )
  )
  var kernelOptions: [String] = []

  @Option(help: .hidden)
  var readyDescriptor: Int32?

  // Used by mount.weightfs for a second `mount -a`, and for `mount -o remount`.
  @Flag(help: .hidden)
  var again = false

  @Flag(help: .hidden)
  var remount = false

  private var mountPoint: String { arguments.last ?? "" }
  private var umaskBits: UInt32? { UInt32(umask, radix: 8).flatMap { $0 <= 0o777 ? $0 : nil } }

  private func kernel() throws -> KernelMountOptions {
    do throws(KernelMountOptions.Problem) {
      return try KernelMountOptions(parsing: kernelOptions.joined(separator: ","))
    } catch {
      throw ValidationError("-o: \(error.reason)")
    }
  }

  func validate() throws {
    _ = try kernel()
    guard (1...2).contains(arguments.count) else { throw ValidationError("mount takes [SOURCE] MOUNTPOINT") }
    try OptionTable.validate([
      "umask": umask, "ttl": "\(ttl)", "stale-wait": "\(staleWait)", "stop-timeout": "\(stopTimeout)",
      "namespace-depth": "\(namespaceDepth)",
    ])
    if let idleExit { try OptionTable.validate(["idle-exit": "\(idleExit)"]) }
    if let metrics, ControlServer.Address(parsing: metrics) == nil {
      throw ValidationError("--metrics: '\(metrics)' is not an address such as 127.0.0.1:9469")
    }
    if arguments.count == 2 {
      do throws(DocumentError) {
        _ = try ArtifactSource(parsing: arguments[0])
      } catch {
        throw ValidationError(error.reason)
      }
    }
  }

  var settings: Settings {
    var settings = common.settings
    settings.sealsWhole = settings.localFormat == .archive
    settings.fetching.verify = verify
    settings.fetching.fill = fill
    settings.fetching.appliesProfiles = true
    settings.resolution.timeToLive = .seconds(ttl)
    settings.resolution.staleWait = .seconds(staleWait)
    return settings
  }

  /// The log of the background process.
  var logPath: FilePath { logFile.map { FilePath(AbsolutePath.of($0)) } ?? settings.root.log }

  func openLog() throws(Errno) -> FileDescriptor {
    guard logFile != nil else { return try settings.root.openLog() }
    let options: FileDescriptor.OpenOptions = [.create, .append, .closeOnExec]
    return try Disk.open(logPath, .writeOnly, options: options, permissions: [.ownerReadWrite])
  }

  private var options: FileSystemOptions {
    var options = FileSystemOptions()
    options.listing = list
    options.fetchFor = fetchFor
    options.namespaceDepth = namespaceDepth
    options.namespaces = Set(namespace)
    options.userIdentifier = uid ?? geteuid()
    options.groupIdentifier = gid ?? getegid()
    options.umask = umaskBits ?? 0
    options.materializeLimit = materialize?.bytes ?? 0
    return options
  }

  /// Throws if the mount point is not a directory, or has a living mount with other options.
  ///
  /// Returns true if it has a mount with the same options.
  private func checkMountPoint() throws(ContentError) -> Bool {
    let path = AbsolutePath.of(mountPoint)
    let known = MountPoints.all().last { $0.path == path }
    var status = stat()
    let result = stat(path, &status)
    if result != 0 {
      // A daemon that died leaves a mount that fails all requests: it is unmounted.
      guard errno == ENOTCONN, let known, known.isWeightfs, !remount else {
        throw ContentError(
          .notFound,
          mountPoint,
          "\(Errno(rawValue: errno))",
          advice: "The mount point must exist"
        )
      }
      guard umount2(path, Int32(MNT_DETACH)) == 0 else {
        throw ContentError(.disk, mountPoint, "cannot unmount a dead mount")
      }
      return false
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      throw ContentError(.unsupported, mountPoint, "is not a directory")
    }
    if known?.isWeightfs != true, remount {
      throw ContentError(.notFound, mountPoint, "weightfs is not mounted there")
    }
    if let known, known.isWeightfs {
      // The kernel may have cached attributes from a dead daemon; statvfs is always sent to the daemon.
      var disk = statvfs()
      if statvfs(path, &disk) != 0, errno == ENOTCONN {
        guard !remount else { throw ContentError(.disk, mountPoint, "the daemon of this mount has died") }
        guard umount2(path, Int32(MNT_DETACH)) == 0 else {
          throw ContentError(.disk, mountPoint, "cannot unmount a dead mount")
        }
        return false
      }
      if again || remount { return try checkSame(path) }
      throw ContentError(
        .unsupported,
        mountPoint,
        "weightfs is already mounted there",
        advice: "Unmount it first"
      )
    }
    return false
  }

  /// Whether the existing mount has the requested options; the error names those that differ.
  private func checkSame(_ path: String) throws(ContentError) -> Bool {
    guard let running = RunningMount.arguments(at: path) else {
      throw ContentError(.unsupported, mountPoint, "cannot find the daemon of this mount")
    }
    let asked = MountArguments(Invocation.words.dropFirst())
    let differences = running.differences(from: asked, isPart: remount)
    if differences.isEmpty { return true }
    throw ContentError(
      .unsupported,
      mountPoint,
      "weightfs is mounted there with other options: \(differences.joined(separator: ", "))",
      advice: "Unmount it first: options cannot be changed while it is mounted"
    )
  }

  func run() async throws {
    if readyDescriptor == nil {
      var isThere = false
      try await ExitStatus.run { isThere = try checkMountPoint() }
      if isThere { return }
    }
    if !foreground {
      let status = BackgroundProcess.start(arguments: ["weightfs"] + Invocation.words, log: logPath) {
        () throws(Errno) in try openLog()
      }
      throw ExitCode(status)
    }
    let ready = ReadySignal(descriptor: readyDescriptor)
    do {
      try await serve(ready)
    } catch let error as ContentError {
      ready.fail("weightfs: \(error)", ExitStatus.code(error))
      throw ExitCode(ExitStatus.code(error))
    } catch let error as DocumentError {
      ready.fail("weightfs: \(error)", 64)
      throw ExitCode(64)
    }
  }

  private func warnOfLittleSpace(_ assembly: Assembly) {
    guard assembly.local.space.isBelowDefault else { return }
    assembly.log.notice(
      "less disk space is free than the default minimum: new bytes are served without being cached",
      metadata: ["root": "\(settings.root.path)", "advice": "Free some space, or set --min-free"]
    )
  }

  private func watchUse(of fileSystem: FileSystem, _ mounted: MountedFileSystem) -> IdleExit? {
    idleExit.map { seconds in
      IdleExit(after: .seconds(seconds), unmount: mounted.unmount) {
        fileSystem.hasOpenFiles ? nil : fileSystem.activity
      }
    }
  }

  private func setReadahead(_ log: Logger) {
    // Read from the mount table, as a system call on the mount itself would wait for this process.
    if let point = MountPoints.all().last(where: { $0.path == AbsolutePath.of(mountPoint) }) {
      Readahead.set(Readahead.bytes(fill), of: point.device, log: log)
    }
  }

  /// Starts the control socket, and the server for Prometheus if there is an address.
  private func servers(
    _ assembly: Assembly,
    _ fileSystem: FileSystem,
    _ label: String
  ) throws(ContentError) -> [ControlServer] {
    let board = StatusBoard(
      version: Version.text,
      mountPoint: AbsolutePath.of(mountPoint),
      source: label,
      fileSystem: fileSystem,
      local: assembly.local,
      metrics: assembly.metrics
    )
    let reload: @Sendable () -> String? = { Reload.run(assembly) }
    var servers: [ControlServer] = []
    do throws(ContentError) {
      let path = try RuntimeDirectory.newControlSocket(of: AbsolutePath.of(mountPoint))
      servers.append(try ControlServer(.unix(path), board: board, reload: reload))
    } catch {
      assembly.log.warning("'weightfs status' cannot reach this mount", metadata: ["reason": "\(error)"])
    }
    if let address = metrics.flatMap({ ControlServer.Address(parsing: $0) }) {
      servers.append(try ControlServer(address, board: board, reload: reload))
    }
    return servers
  }

  /// Returns the root of the mount, and the source that `mount` and `df` show.
  private func shown(_ assembly: Assembly) async throws -> (root: FileSystem.Root, label: String) {
    guard arguments.count == 2 else { return (.tree, MountPoints.treeSource(settings.root.path.string)) }
    let artifact = try await assembly.load(try ArtifactSource(parsing: arguments[0]))
    return (.artifact(artifact), arguments[0])
  }

  private func mounted(
    _ fileSystem: FileSystem,
    _ assembly: Assembly,
    _ label: String,
    onReady: @escaping @Sendable () -> Void
  ) throws -> MountedFileSystem {
    let settings = settings
    return try MountedFileSystem(
      fileSystem,
      at: AbsolutePath.of(mountPoint),
      allowsOther: allowOther,
      kernelOptions: try kernel(),
      metrics: assembly.metrics,
      log: assembly.log,
      // With `strict`, look-ups wait for complete tar layers; those fetches have their own deadline on
      // progress.
      deadline: verify == .strict
        ? .seconds(3600) : settings.fetching.deadline * 4 + settings.fetching.retryFor / 4,
      label: label,
      onReady: {
        do throws(ContentError) {
          try Privileges.limit(for: settings.root)
        } catch {
          assembly.log.error("the daemon keeps all its privileges", metadata: ["reason": "\(error)"])
        }
        onReady()
      }
    )
  }

  private func serve(_ ready: ReadySignal) async throws {
    Heap.limit()
    let assembly = try common.assemble(settings, logging: .notice)
    let (root, label) = try await shown(assembly)
    warnOfLittleSpace(assembly)
    let fileSystem = assembly.makeFileSystem(root: root, options: options)
    let service = ServiceNotifier(environment: CommonOptions.environment)
    let servers = try servers(assembly, fileSystem, label)
    let mounted = try mounted(fileSystem, assembly, label) {
      ready.succeed()
      service?.send("READY=1\nSTATUS=Serving \(label)")
    }
    setReadahead(assembly.log)
    let signals = MountSignals(mounted, fileSystem, stopTimeout: .seconds(stopTimeout), service, assembly.log)
    {
      Reload.run(assembly)
    }
    let watchdog = service.flatMap { service in
      service.watchdogInterval.map { Watchdog(every: $0, AbsolutePath.of(mountPoint), service) }
    }
    let idle = watchUse(of: fileSystem, mounted)
    assembly.log.info("mounted", metadata: ["at": "\(mountPoint)", "root": "\(assembly.settings.root.path)"])
    let result = try await BlockingExecutor(label: "weightfs.session", threads: 1).run {
      () throws(ContentError) in
      mounted.run()
    }
    await fileSystem.settle()
    withExtendedLifetime((signals, idle, servers, watchdog)) {}
    guard result == 0 || result == -ENODEV else {
      throw ContentError(.disk, mountPoint, "serving the mount failed: \(Errno(rawValue: -result))")
    }
  }
}
