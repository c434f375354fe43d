import Artifacts
import BlobCache
import Layouts
import ArgumentParser
import Configuration
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

/// Options of every command that uses the local registry, from `OptionTable`.
struct CommonOptions: ParsableArguments {
  @Option(help: .option("registry-root")) var registryRoot: String?
  @Option(help: .option("shared-root")) var sharedRoot: RootShare = .owner
  @Option(help: .option("additional-store")) var additionalStore: [String] = []
  @Option(help: .option("cache-limit")) var cacheLimit: DiskShare?
  @Option(help: .option("min-free")) var minFree: DiskShare?
  @Option(help: .option("local-format")) var localFormat: LayoutFormat = .directory
  @Option(help: .option("max-unpacked")) var maxUnpacked: ByteCount?
  @Option(help: .option("platform")) var platform: Platform?
  @Flag(help: .option("complete-images")) var completeImages = false
  @Flag(help: .option("require-complete")) var requireComplete = false
  @Flag(help: .option("offline")) var offline = false
  @Option(help: .option("insecure-registry")) var insecureRegistry: [String] = []
  @Option(help: .option("authfile")) var authfile: String?
  @Option(help: .option("ca-file")) var caFile: String?
  @Option(help: .option("proxy")) var proxy: String?
  @Option(help: .option("no-proxy")) var noProxy: String?
  @Option(help: .option("timeout")) var timeout: Int = 30
  @Option(help: .option("min-rate")) var minRate: ByteCount = ByteCount(bytes: 1024)
  @Option(help: .option("retry-for")) var retryFor: Int = 60
  @Option(help: .option("log-level")) var logLevel: LogLevel?

  func validate() throws {
    try OptionTable.validate(["timeout": "\(timeout)", "retry-for": "\(retryFor)"])
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
    for (name, value) in [("ca-file", caFile), ("proxy", proxy)] where value?.isEmpty ?? false {
      throw ValidationError("--\(name) is empty")
    }
    if additionalStore.contains("") { throw ValidationError("--additional-store is empty") }
  }

  private static let smallestCache: Int64 = 1 << 20

  private func limits(of root: RegistryRoot) -> SpaceLimits {
    let size = root.diskSize
    var limits = SpaceLimits(cacheLimit: cacheLimit?.bytes(of: size))
    if let minFree {
      limits.minimumFree = minFree.bytes(of: size)
    } else {
      limits.defaultFree = SpaceLimits.defaultFree(diskSize: size ?? 0)
    }
    return limits
  }

  /// The environment of the process at its start.
  static let environment: [String: String] = {
    var found: [String: String] = [:]
    var entry = environ
    while let text = entry.pointee {
      let line = String(cString: text)
      if let mark = line.firstIndex(of: "=") {
        found[String(line[..<mark])] = String(line[line.index(after: mark)...])
      }
      entry += 1
    }
    // Under systemd and mount(8) the variable is unset.
    if found["HOME"]?.isEmpty ?? true, let user = getpwuid(geteuid()), let home = user.pointee.pw_dir {
      found["HOME"] = String(cString: home)
    }
    return found
  }()

  var settings: Settings {
    var root =
      registryRoot.map { RegistryRoot(path: FilePath(AbsolutePath.of($0))) }
      ?? .standard(environment: Self.environment, isRoot: geteuid() == 0)
    root.share = sharedRoot
    var settings = Settings(root: root)
    settings.additionalStores = additionalStore.map { FilePath(AbsolutePath.of($0)) }
    settings.limits = limits(of: root)
    settings.localFormat = localFormat
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

  /// The environment of the process, with the certificates and the proxy of the options.
  private var networkEnvironment: [String: String] {
    var environment = Self.environment
    if let caFile { environment["CURL_CA_BUNDLE"] = AbsolutePath.of(caFile) }
    if let proxy {
      for name in ["http_proxy", "https_proxy"] { environment[name] = proxy }
      for name in ["HTTPS_PROXY", "all_proxy", "ALL_PROXY"] { environment[name] = nil }
    }
    if let noProxy { (environment["no_proxy"], environment["NO_PROXY"]) = (noProxy, nil) }
    return environment
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
    if let caFile { words += ["--ca-file", AbsolutePath.of(caFile)] }
    if let proxy { words += ["--proxy", proxy] }
    if let noProxy { words += ["--no-proxy", noProxy] }
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
    return try Assembly(settings: settings ?? self.settings, environment: networkEnvironment, log: log(level))
  }
}
