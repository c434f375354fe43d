import Artifacts
import BlobCache
import Layouts
import ArgumentParser
import Content
import Disk
import Fetching
import FileSystem
import Glibc
import LocalRegistry
import Logging
import MountDaemon
import OCI
import SystemPackage

extension FetchPolicy.Verify: ExpressibleByArgument {}
extension FetchPolicy.Fill: ExpressibleByArgument {}
extension FileSystemOptions.Listing: ExpressibleByArgument {}
extension FileSystemOptions.FetchFor: ExpressibleByArgument {}

extension LayoutFormat: ExpressibleByArgument {}

extension Platform: ExpressibleByArgument {
  init?(argument: String) { self.init(parsing: argument) }
}

extension RootShare: ExpressibleByArgument {}

/// Minimum level of logged messages.
enum LogLevel: String, ExpressibleByArgument, CaseIterable {
  case debug, info, notice, warning, error
}

/// Options of every command.
struct CommonOptions: ParsableArguments {
  @Option(help: "Local registry (default: WEIGHTFS_ROOT, else /var/lib/weightfs or the XDG data directory).")
  var registryRoot: String?

  @Option(
    help:
      "Users of a newly created local registry: owner, group or all. An existing one keeps its mode."
  )
  var sharedRoot: RootShare = .owner

  @Option(help: "A read-only store, which takes precedence over the local registry; may be repeated.")
  var additionalStore: [String] = []

  @Option(
    help: ArgumentHelp(
      "Maximum size of cached blobs (excluding archives), such as 200G or 50% of the disk. Least recently used blobs are evicted first (WEIGHTFS_CACHE_LIMIT).",
      valueName: "size"
    )
  )
  var cacheLimit: DiskShare?

  @Option(
    help: ArgumentHelp(
      "Space to leave free on the disk, such as 20G or 10% (WEIGHTFS_MIN_FREE). The default, 5% and at most 20G, never evicts pulled blobs.",
      valueName: "size"
    )
  )
  var minFree: DiskShare?

  @Option(
    help: "Format of new complete artifacts: oci-dir or oci-archive (WEIGHTFS_LOCAL_FORMAT)."
  )
  var localFormat: LayoutFormat?

  @Flag(help: "Send no requests; use only the local registry and additional stores.")
  var offline = false

  @Option(
    help: ArgumentHelp(
      "Platform to select from an image index, such as linux/arm64 (default: that of this machine).",
      valueName: "os/arch"
    )
  )
  var platform: Platform?

  @Option(
    help: ArgumentHelp(
      "Maximum size of a decompressed layer, such as 200G (default: the free space less --min-free).",
      valueName: "size"
    )
  )
  var maxUnpacked: ByteCount?

  @Flag(help: "Show images completely, not only the directory /models of those that have one.")
  var completeImages = false

  @Flag(help: "Refuse artifacts that lack shards of a split model, in place of a warning.")
  var requireComplete = false

  @Option(help: "A registry to access by plain HTTP; may be repeated. Not needed for loopback.")
  var insecureRegistry: [String] = []

  @Option(
    help: ArgumentHelp(
      "Seconds after which a request below the minimum rate fails.",
      valueName: "seconds"
    )
  )
  var timeout: Int = 30

  @Option(
    help: ArgumentHelp(
      "Minimum rate of a transfer in bytes per second, such as 1K.",
      valueName: "size"
    )
  )
  var minRate: ByteCount = ByteCount(bytes: 1024)

  @Option(
    help: ArgumentHelp(
      "Seconds for which a read retries a failing endpoint (refused, reset, 5xx); look-ups a quarter.",
      valueName: "seconds"
    )
  )
  var retryFor: Int = 60

  @Option(
    help: ArgumentHelp(
      "The only credential file (default: REGISTRY_AUTH_FILE, DOCKER_CONFIG, podman's and docker's files).",
      valueName: "file"
    )
  )
  var authfile: String?

  @Option(
    help: "Minimum log level: debug, info, notice, warning, error (mount: notice, others: warning)."
  )
  var logLevel: LogLevel?

  func validate() throws {
    guard (1...86_400).contains(timeout) else { throw ValidationError("--timeout takes 1 to 86400 seconds") }
    guard (0...86_400).contains(retryFor) else {
      throw ValidationError("--retry-for takes 0 to 86400 seconds")
    }
    guard (1...(1 << 30)).contains(minRate.bytes) else {
      throw ValidationError("--min-rate takes 1 byte to 1G")
    }
    if let authfile, authfile.isEmpty { throw ValidationError("--authfile is empty") }
    for registry in insecureRegistry where !Grammar.isRegistry(registry) {
      throw ValidationError("--insecure-registry: '\(registry)' is not a registry (host or host:port)")
    }
    if let registryRoot, registryRoot.isEmpty { throw ValidationError("--registry-root is empty") }
    if let cacheLimit, cacheLimit.isBelow(Self.smallestCache) {
      throw ValidationError("--cache-limit: the minimum is 1 MiB")
    }
    _ = try Self.size("WEIGHTFS_CACHE_LIMIT")
    _ = try Self.size("WEIGHTFS_MIN_FREE")
    _ = try Self.format()
    if additionalStore.contains("") { throw ValidationError("--additional-store is empty") }
  }

  private static let smallestCache: Int64 = 1 << 20

  private static func size(_ name: String) throws -> DiskShare? {
    guard let text = environment[name], !text.isEmpty else { return nil }
    guard let share = DiskShare(argument: text) else {
      throw ValidationError("\(name): '\(text)' is not a size such as 200G or 5%")
    }
    if name == "WEIGHTFS_CACHE_LIMIT", share.isBelow(smallestCache) {
      throw ValidationError("\(name): the minimum is 1 MiB")
    }
    return share
  }

  private func limits(of root: RegistryRoot) -> SpaceLimits {
    // Checked by validate().
    let cache = cacheLimit ?? (try? Self.size("WEIGHTFS_CACHE_LIMIT")).flatMap { $0 }
    let free = minFree ?? (try? Self.size("WEIGHTFS_MIN_FREE")).flatMap { $0 }
    let size = root.diskSize
    var limits = SpaceLimits(cacheLimit: cache?.bytes(of: size))
    if let free {
      limits.minimumFree = free.bytes(of: size)
    } else {
      limits.defaultFree = SpaceLimits.defaultFree(diskSize: size ?? 0)
    }
    return limits
  }

  private static func format() throws -> LayoutFormat? {
    guard let text = environment["WEIGHTFS_LOCAL_FORMAT"], !text.isEmpty else { return nil }
    guard let format = LayoutFormat(rawValue: text) else {
      throw ValidationError("WEIGHTFS_LOCAL_FORMAT: '\(text)' is neither oci-dir nor oci-archive")
    }
    return format
  }

  static var environment: [String: String] {
    var found: [String: String] = [:]
    var entry = environ
    while let text = entry.pointee {
      let line = String(cString: text)
      if let mark = line.firstIndex(of: "=") {
        found[String(line[..<mark])] = String(line[line.index(after: mark)...])
      }
      entry += 1
    }
    return found
  }

  var settings: Settings {
    var root =
      registryRoot.map { RegistryRoot(path: FilePath(AbsolutePath.of($0))) }
      ?? .standard(environment: Self.environment, isRoot: geteuid() == 0)
    root.share = sharedRoot
    var settings = Settings(root: root)
    settings.additionalStores = additionalStore.map { FilePath(AbsolutePath.of($0)) }
    settings.limits = limits(of: root)
    // A wrong format was refused by `validate`.
    settings.localFormat = localFormat ?? (try? Self.format()).flatMap { $0 } ?? .directory
    settings.insecureRegistries = Set(insecureRegistry)
    settings.fetching.deadline = .seconds(timeout)
    settings.fetching.minimumRate = Int(minRate.bytes)
    settings.fetching.retryFor = .seconds(retryFor)
    settings.authFile = authfile.map { FilePath(AbsolutePath.of($0)) }
    settings.resolution.isOffline = offline
    settings.packaging.unpacking.size = maxUnpacked?.bytes
    settings.packaging.showsCompleteImages = completeImages
    settings.packaging.requiresComplete = requireComplete
    if let platform { settings.packaging.platform = platform }
    return settings
  }

  /// The options that a mount started by this command needs to show the same artifacts.
  var mountArguments: [String] {
    var words = ["--registry-root", settings.root.path.string]
    for store in settings.additionalStores { words += ["--additional-store", store.string] }
    for registry in insecureRegistry { words += ["--insecure-registry", registry] }
    if let authFile = settings.authFile { words += ["--authfile", authFile.string] }
    if let cacheLimit { words += ["--cache-limit", "\(cacheLimit)"] }
    if let minFree { words += ["--min-free", "\(minFree)"] }
    if let maxUnpacked { words += ["--max-unpacked", "\(maxUnpacked)"] }
    if let platform { words += ["--platform", "\(platform)"] }
    if completeImages { words.append("--complete-images") }
    if requireComplete { words.append("--require-complete") }
    if offline { words.append("--offline") }
    return words
  }

  /// - Parameter usual: The default level.
  func log(_ usual: Logger.Level) -> Logger {
    let level = logLevel.flatMap { Logger.Level(rawValue: $0.rawValue) } ?? usual
    return Logger(label: "weightfs") { _ in StandardErrorLog(level: level) }
  }

  func assemble(
    _ settings: Settings? = nil,
    logging level: Logger.Level = .warning
  ) throws(ContentError) -> Assembly {
    signal(SIGPIPE, SIG_IGN)
    // All layers of an artifact, possibly thousands, are open while it is written.
    var limit = rlimit()
    if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < limit.rlim_max {
      limit.rlim_cur = limit.rlim_max
      _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
    return try Assembly(settings: settings ?? self.settings, environment: Self.environment, log: log(level))
  }
}
