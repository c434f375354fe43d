/// The attributes of a node, as getattr reports them.
package struct FileAttributes: Sendable, Equatable {
  /// The type of a node.
  package enum Kind: Sendable {
    case directory
    case file
    case symbolicLink
  }

  package let kind: Kind
  package let inode: UInt64
  /// Bytes.
  package let size: Int64
  /// Permission bits.
  package let mode: UInt32
  package let linkCount: UInt32
  /// Seconds since 1970.
  package let modificationTime: Int64
  package let userIdentifier: UInt32
  package let groupIdentifier: UInt32

  /// Number of 512-byte units; always covers the size, as tools treat a smaller value as holes (`tar -S`).
  package var blocks: Int64 { (size + 511) / 512 }
}

/// A looked-up node, and how long the kernel may cache the answer.
package struct Entry: Sendable {
  /// 0 for a name that does not exist.
  package let node: UInt64
  package let attributes: FileAttributes
  package let entryTimeout: Duration
  package let attributeTimeout: Duration
}

/// One name of a directory.
package struct DirectoryEntry: Sendable {
  package let name: [UInt8]
  package let kind: FileAttributes.Kind
  package let inode: UInt64
}

/// An answer that is available now, or one that must be awaited.
package enum Outcome<Value: Sendable>: Sendable {
  case now(Result<Value, FileSystemError>)
  case later(@Sendable () async -> Result<Value, FileSystemError>)

  /// The answer; awaits it if necessary.
  package var value: Result<Value, FileSystemError> {
    get async {
      switch self {
      case .now(let result): result
      case .later(let body): await body()
      }
    }
  }
}
