// swift-tools-version: 6.2

import PackageDescription

let strict: [SwiftSetting] = [
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let strictC: [CSetting] = [
  .treatAllWarnings(as: .error),
  .enableWarning("all"),
  .enableWarning("extra"),
]

let log = Target.Dependency.product(name: "Logging", package: "swift-log")
let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let toml = Target.Dependency.product(name: "TOMLKit", package: "TOMLKit")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

func target(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

let package = Package(
  name: "weightfs",
  products: [
    .executable(name: "weightfs", targets: ["weightfs"])
  ],
  traits: [
    .trait(name: "PthreadMutex", description: "Locks that ThreadSanitizer knows, for make test-tsan.")
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
  ],
  targets: [
    // Layer 0: one C library each.
    .systemLibrary(name: "CArchive", pkgConfig: "libarchive", providers: [.apt(["libarchive-dev"])]),
    .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
    .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .target(name: "CFUSE", cSettings: strictC, linkerSettings: [.linkedLibrary("fuse3")]),
    .target(name: "CLinux", cSettings: strictC),
    // Layer 1: values, locks and counters.
    .target(
      name: "Locking",
      swiftSettings: strict + [.define("PTHREAD_MUTEX", .when(traits: ["PthreadMutex"]))]
    ),
    target("OCI", []),
    target("Telemetry", ["Locking"]),
    // Layer 2: one external mechanism each.
    target("Hashing", ["COpenSSL", "OCI"]),
    target("HTTP", ["CCurl", "Telemetry", "Locking"]),
    target("Archive", ["CArchive", "CZlib", "CZstd"]),
    target("FUSE", ["CFUSE", "Locking"]),
    target("SQLite", ["CSQLite"]),
    // Layers 3 to 5: content, its storage, and its sources.
    target("Content", ["OCI", "Hashing", "Locking"]),
    target("Disk", ["CLinux", "OCI", "Content", "Hashing", "Locking", system]),
    target("Registry", ["CLinux", "OCI", "Content", "HTTP", "Telemetry", "Locking", log]),
    target(
      "BlobCache",
      ["CLinux", "OCI", "Content", "Hashing", "Disk", "Telemetry", "Locking", system, log]
    ),
    target("Layouts", ["CLinux", "OCI", "Content", "Archive", "Disk", "Hashing", system]),
    target("Stores", ["OCI", "Content", "Layouts", "Disk", "SQLite", "Hashing", "Locking", system]),
    target(
      "LocalRegistry",
      [
        "OCI", "Content", "BlobCache", "Layouts", "Stores", "Disk", "Hashing", "Telemetry", "Locking", system,
        log,
      ]
    ),
    target(
      "Fetching",
      [
        "OCI", "Content", "Disk", "BlobCache", "Layouts", "LocalRegistry", "Hashing", "Telemetry", "Locking",
        system, log,
      ]
    ),
    // Layers 5 to 7: artifacts and the file system.
    target("ArtifactTree", ["OCI", "Content", "Archive"]),
    target(
      "Artifacts",
      [
        "OCI", "Content", "Disk", "BlobCache", "Layouts", "Stores", "LocalRegistry", "ArtifactTree",
        "Fetching", "Archive", "Hashing",
        "Registry", "HTTP", "Telemetry", "Locking", system, log,
      ]
    ),
    target(
      "FileSystem",
      [
        "OCI", "Content", "Disk", "BlobCache", "Layouts", "Stores", "ArtifactTree", "Fetching",
        "LocalRegistry", "Artifacts", "Telemetry", "Locking", system, log,
      ]
    ),
    target("Configuration", [toml]),
    // Layers 8 and 9: the daemon and the program.
    target(
      "MountDaemon",
      [
        "CLinux", "OCI", "Content", "Disk", "BlobCache", "LocalRegistry", "Configuration", "Fetching",
        "Artifacts",
        "FileSystem",
        "FUSE",
        "Telemetry", "Locking", system, log,
      ]
    ),
    .executableTarget(
      name: "weightfs",
      dependencies: [
        "MountDaemon", "Configuration", "FileSystem", "Artifacts", "Fetching", "LocalRegistry", "BlobCache",
        "Layouts",
        "Stores", "Disk",
        "ArtifactTree", "Content", "OCI", "Locking", arguments, system, log,
      ],
      swiftSettings: strict
    ),
    // Tests. Only tests use Support.
    .target(
      name: "TestSupport",
      dependencies: ["OCI", "Content", log],
      path: "Tests/Support",
      swiftSettings: strict
    ),
    tests("OCITests", ["OCI", "TestSupport"]),
    tests("HashingTests", ["Hashing", "OCI", "TestSupport"]),
    tests("TelemetryTests", ["Telemetry"]),
    tests("HTTPTests", ["HTTP", "Telemetry", "TestSupport"]),
    tests("ContentTests", ["Content", "OCI", "TestSupport"]),
    tests("RegistryTests", ["Registry", "HTTP", "Content", "OCI", "Telemetry", "TestSupport", log]),
    tests("ArchiveTests", ["Archive", "TestSupport"]),
    tests(
      "LocalRegistryTests",
      [
        "LocalRegistry", "BlobCache", "Layouts", "Stores", "Disk", "Content", "OCI", "Telemetry",
        "Locking", "Hashing", "TestSupport", system, log,
      ]
    ),
    tests(
      "FetchingTests",
      [
        "Fetching", "LocalRegistry", "BlobCache", "Layouts", "Disk", "Content", "OCI", "Telemetry",
        "Hashing", "TestSupport", system, log,
      ]
    ),
    tests("ArtifactTreeTests", ["ArtifactTree", "Archive", "Content", "OCI", "TestSupport"]),
    tests(
      "FileSystemTests",
      [
        "FileSystem", "Artifacts", "Disk", "BlobCache", "Layouts", "Stores", "Fetching", "LocalRegistry",
        "ArtifactTree", "Content", "OCI", "Telemetry",
        "TestSupport",
        system, log,
      ]
    ),
    tests(
      "ConformanceTests",
      [
        "Registry", "LocalRegistry", "BlobCache", "Layouts", "Stores", "Disk", "HTTP", "Content", "OCI",
        "Telemetry", "TestSupport", system, log,
      ]
    ),
    tests(
      "FuzzTests",
      ["Archive", "ArtifactTree", "Content", "Fetching", "HTTP", "OCI", "Registry", "TestSupport"]
    ),
    tests("ConfigurationTests", ["Configuration", "TestSupport"]),
    tests("MountTests", ["TestSupport", "OCI", "Content", "MountDaemon"]),
    tests(
      "MountDaemonTests",
      ["MountDaemon", "FileSystem", "Fetching", "Content", "Telemetry", "TestSupport", system, log]
    ),
    tests(
      "CommandTests",
      [
        "weightfs", "Configuration", "Artifacts", "Layouts", "Content", "OCI", "TestSupport", arguments,
        system,
      ]
    ),
    tests("ArchitectureTests", ["TestSupport"]),
  ],
  swiftLanguageModes: [.v6]
)
