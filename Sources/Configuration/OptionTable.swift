/// The table of options: every flag, environment variable, key of a configuration file and option of mount(8) comes from
/// here, and so do the help texts and docs/configuration.md.
package enum OptionTable {
  private static let day = 86_400

  /// All options, in the order of the documents.
  package static let all: [OptionDefinition] =
    storage + display + registries + limits + mounts + access + operation

  private static let storage: [OptionDefinition] = [
    OptionDefinition(
      "registry-root",
      .path,
      standard: "/var/lib/weightfs for root, else $XDG_DATA_HOME/weightfs",
      "The local registry, which keeps artifacts and cached blobs. WEIGHTFS_ROOT has the same meaning."
    ),
    OptionDefinition(
      "shared-root",
      .choice(["owner", "group", "all"]),
      standard: "owner",
      "Users of a newly created local registry. An existing one keeps its mode."
    ),
    OptionDefinition(
      "additional-store",
      .list,
      "A read-only store, which takes precedence over the local registry; may be repeated."
    ),
    OptionDefinition(
      "cache-limit",
      .share,
      isReloadable: true,
      "Maximum size of cached blobs (excluding archives), such as 200G or 50% of the disk. Least recently used blobs are evicted first."
    ),
    OptionDefinition(
      "min-free",
      .share,
      standard: "5%, at most 20 GiB",
      isReloadable: true,
      "Space to leave free on the disk, such as 20G or 10%. The default never evicts pulled blobs."
    ),
    OptionDefinition(
      "local-format",
      .choice(["oci-dir", "oci-archive"]),
      standard: "oci-dir",
      "Format of new complete artifacts."
    ),
    OptionDefinition(
      "max-unpacked",
      .size,
      standard: "the free space less min-free",
      "Maximum size of a decompressed layer, such as 200G."
    ),
  ]

  private static let display: [OptionDefinition] = [
    OptionDefinition(
      "platform",
      .text,
      standard: "the platform of this machine",
      "Platform to select from an image index, such as linux/arm64."
    ),
    OptionDefinition(
      "complete-images",
      .flag,
      "Show images completely, not only the directory /models of those that have one."
    ),
    OptionDefinition(
      "require-complete",
      .flag,
      "Refuse artifacts that lack shards of a split model, in place of a warning."
    ),
  ]

  private static let registries: [OptionDefinition] = [
    OptionDefinition(
      "offline",
      .flag,
      "Send no requests; use only the local registry and additional stores."
    ),
    OptionDefinition(
      "insecure-registry",
      .list,
      "A registry to access by plain HTTP; may be repeated. Not needed for loopback."
    ),
    OptionDefinition(
      "authfile",
      .path,
      standard: "REGISTRY_AUTH_FILE, DOCKER_CONFIG, the files of podman and docker",
      "The only credential file."
    ),
    OptionDefinition(
      "ca-file",
      .path,
      standard: "CURL_CA_BUNDLE, SSL_CERT_FILE, the certificates of the system",
      "A file with the trusted certificates in PEM format."
    ),
    OptionDefinition(
      "proxy",
      .text,
      standard: "https_proxy, http_proxy",
      "The proxy for requests to registries, such as http://proxy.example:3128."
    ),
    OptionDefinition(
      "no-proxy",
      .text,
      standard: "no_proxy",
      "Hosts and networks, separated by commas, that are accessed without the proxy."
    ),
  ]

  private static let limits: [OptionDefinition] = [
    OptionDefinition(
      "timeout",
      .integer(1...day),
      standard: "30",
      "Seconds after which a request below the minimum rate fails."
    ),
    OptionDefinition(
      "min-rate",
      .size,
      standard: "1K",
      "Minimum rate of a transfer in bytes per second, such as 1K."
    ),
    OptionDefinition(
      "retry-for",
      .integer(0...day),
      standard: "60",
      "Seconds for which a read retries a failing endpoint (refused, reset, 5xx); look-ups a quarter."
    ),
  ]

  private static let mounts: [OptionDefinition] = [
    OptionDefinition(
      "verify",
      .choice(["deferred", "strict"]),
      in: .mount,
      standard: "deferred",
      "When bytes are served: deferred (small blobs after verification) or strict (all after it)."
    ),
    OptionDefinition(
      "fill",
      .choice(["background", "demand"]),
      in: .mount,
      standard: "background",
      "What is fetched besides the bytes read: background (the complete blob) or demand (nothing)."
    ),
    OptionDefinition(
      "list",
      .choice(["local", "tags", "catalog"]),
      in: .mount,
      standard: "tags",
      "What listings show: local (known locally), tags (also tags) or catalog (also repositories)."
    ),
    OptionDefinition(
      "ttl",
      .integer(0...day),
      in: .mount,
      standard: "60",
      isReloadable: true,
      "Time to live of a tag's resolution, in seconds."
    ),
    OptionDefinition(
      "stale-wait",
      .integer(0...3600),
      in: .mount,
      standard: "1",
      isReloadable: true,
      "Seconds to wait for the registry of a known tag before the last known answer is used; 0: none."
    ),
    OptionDefinition(
      "namespace-depth",
      .integer(0...32),
      in: .mount,
      standard: "3",
      "Maximum depth of namespaces that no registry confirms."
    ),
    OptionDefinition(
      "namespace",
      .list,
      in: .mount,
      "A namespace that exists even if no registry confirms it: REGISTRY/PATH; may be repeated."
    ),
    OptionDefinition(
      "materialize",
      .size,
      in: .mount,
      "Copy files out of tars and archives for passthrough, up to this total size, such as 20G."
    ),
  ]

  private static let access: [OptionDefinition] = [
    OptionDefinition("allow-other", .flag, in: .mount, "Allow other users to access the mount."),
    OptionDefinition(
      "fetch-for",
      .choice(["all", "owner"]),
      in: .mount,
      standard: "all",
      "Users whose access causes requests: all, or owner (the owner of the files, and root)."
    ),
    OptionDefinition(
      "uid",
      .integer(0...Int(UInt32.max)),
      in: .mount,
      standard: "the mounting user",
      "The owner of all files."
    ),
    OptionDefinition(
      "gid",
      .integer(0...Int(UInt32.max)),
      in: .mount,
      standard: "the group of the mounting user",
      "The group of all files."
    ),
    OptionDefinition(
      "umask",
      .octal,
      in: .mount,
      standard: "000",
      "Octal umask applied to every file and directory."
    ),
  ]

  private static let operation: [OptionDefinition] = [
    OptionDefinition(
      "log-level",
      .choice(["debug", "info", "notice", "warning", "error"]),
      standard: "notice for mounts, else warning",
      isReloadable: true,
      "Minimum level of logged messages."
    ),
    OptionDefinition(
      "log-file",
      .path,
      in: .mount,
      standard: ".weightfs/mount.log in the local registry",
      "Log file of the background process."
    ),
    OptionDefinition(
      "metrics",
      .text,
      in: .mount,
      "Address for Prometheus, such as 127.0.0.1:9469; a port alone is one of loopback."
    ),
    OptionDefinition(
      "idle-exit",
      .integer(1...31_536_000),
      in: .mount,
      standard: "never",
      "Unmount after this number of seconds without an open file."
    ),
    OptionDefinition(
      "stop-timeout",
      .integer(0...3600),
      in: .mount,
      standard: "30",
      "Seconds that SIGTERM waits for open files before it unmounts lazily."
    ),
  ]

  /// Returns the option with a name, a key or a variable; nil if there is none.
  package static func option(_ name: String) -> OptionDefinition? {
    all.first { $0.name == name || $0.key == name || $0.variable == name }
  }

  /// Returns the name of the table that is nearest to a misspelt one, or nil if none is near.
  ///
  /// - Parameters:
  ///   - name: The unknown name.
  ///   - names: The names of the same spelling.
  package static func nearest(_ name: String, among names: [String]) -> String? {
    let found = names.map { (name: $0, distance: EditDistance.between(name, $0)) }.min {
      $0.distance < $1.distance
    }
    guard let found, found.distance <= max(2, name.count / 3) else { return nil }
    return found.name
  }
}
