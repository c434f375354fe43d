import Content
import FUSE
import FileSystem
import Glibc
import LocalRegistry
import Logging
import OCI
import Locking
import SystemPackage
import Telemetry

/// Passes requests of the kernel to the file system and returns its answers.
///
/// Contains no decisions of its own.
final class FileSystemAdapter: FUSEOperations {
  private let fileSystem: FileSystem
  private let metrics: Metrics
  private let log: Logger
  private let waiting: WaitingRequests
  /// The error for a request that exceeded the deadline.
  private let late: FileSystemError
  private let responder: FUSEReadResponder
  private let onReady: @Sendable (Bool) -> Void

  init(
    fileSystem: FileSystem,
    metrics: Metrics,
    log: Logger,
    deadline: Duration,
    onReady: @escaping @Sendable (_ hasPassthrough: Bool) -> Void
  ) {
    waiting = WaitingRequests(deadline: deadline)
    late = FileSystemError(
      ContentError(
        .timedOut,
        "",
        "no answer within \(deadline.components.seconds) s",
        advice: "With --log-level debug the log shows the requests"
      )
    )
    self.onReady = onReady
    self.fileSystem = fileSystem
    self.metrics = metrics
    self.log = log
    responder = FUSEReadResponder(metrics: metrics, log: log)
  }

  func started(hasPassthrough: Bool) { onReady(hasPassthrough) }

  func lookUp(_ name: [UInt8], in parent: UInt64, _ request: consuming FUSERequest) {
    let user = request.user
    answer(
      request,
      fileSystem.lookUp(name, in: parent, user: user),
      undo: { [fileSystem] in if $0.node != 0 { fileSystem.forget($0.node, 1) } }
    ) { [self] request, result in
      switch result {
      case .success(let entry): request.entry(Self.entry(entry))
      case .failure(let error):
        request.error(
          code(error, "lookup", "\(fileSystem.path(of: parent))/\(String(decoding: name, as: UTF8.self))")
        )
      }
    }
  }

  func forget(_ node: UInt64, _ count: UInt64) { fileSystem.forget(node, count) }

  func attributes(of node: UInt64, _ request: consuming FUSERequest) {
    switch fileSystem.attributes(of: node) {
    case .success(let attributes): request.attributes(Self.attributes(attributes), timeout: 3600)
    case .failure(let error): request.error(error.errno.rawValue)
    }
  }

  func readLink(_ node: UInt64, _ request: consuming FUSERequest) {
    switch fileSystem.linkTarget(of: node) {
    case .success(let target): request.link(target)
    case .failure(let error): request.error(error.errno.rawValue)
    }
  }

  func open(_ node: UInt64, flags: Int32, _ request: consuming FUSERequest) {
    guard flags & O_ACCMODE == O_RDONLY else {
      request.error(EROFS)
      return
    }
    let user = request.user
    answer(
      request,
      fileSystem.open(node, user: user),
      undo: { [fileSystem] in fileSystem.close($0.handle) }
    ) { [self] request, result in
      switch result {
      // The bytes of a node never change, so pages of an earlier open are valid.
      case .success(let file):
        let isTaken = request.open(handle: file.handle, keepsCache: file.keepsCache, backing: file.backing)
        if !isTaken { fileSystem.close(file.handle) }
      case .failure(let error): request.error(code(error, "open", fileSystem.path(of: node)))
      }
    }
  }

  func read(_ handle: UInt64, offset: Int64, count: Int, _ request: consuming FUSERequest) {
    let caller = request.caller
    let reply = ReadReply(responder: responder, token: request.token())
    fileSystem.read(handle, offset: offset, count: count, caller: caller, reply: reply)
  }

  func close(_ handle: UInt64, _ request: consuming FUSERequest) {
    fileSystem.close(handle)
    request.error(0)
  }

  func openDirectory(_ node: UInt64, _ request: consuming FUSERequest) {
    let user = request.user
    answer(
      request,
      fileSystem.openDirectory(node, user: user),
      undo: { [fileSystem] in fileSystem.closeDirectory($0) }
    ) { [self] request, result in
      switch result {
      case .success(let handle):
        if !request.open(handle: handle, keepsCache: false) { fileSystem.closeDirectory(handle) }
      case .failure(let error): request.error(code(error, "opendir", fileSystem.path(of: node)))
      }
    }
  }

  func readDirectory(
    _ node: UInt64,
    handle: UInt64,
    offset: Int64,
    size: Int,
    hasAttributes: Bool,
    _ request: consuming FUSERequest
  ) {
    var buffer = request.makeDirectoryBuffer(size: size, hasAttributes: hasAttributes)
    var next = offset
    for entry in fileSystem.entries(handle, from: Int(offset)) {
      next += 1
      let isDot = entry.name == [0x2e] || entry.name == [0x2e, 0x2e]
      let fits = buffer.append(entry.name, offset: next) {
        // Without a node, the kernel gets only the name.
        if hasAttributes, !isDot, let found = fileSystem.lookUpListed(entry, in: node) {
          return Self.entry(found)
        }
        let attributes = FUSEAttributes(inode: entry.inode, mode: Self.mode(entry.kind))
        return FUSEEntry(node: 0, attributes: attributes, entryTimeout: 0, attributeTimeout: 0)
      }
      guard fits else { break }
    }
    request.directory(buffer)
  }

  func closeDirectory(_ handle: UInt64, _ request: consuming FUSERequest) {
    fileSystem.closeDirectory(handle)
    request.error(0)
  }

  func attribute(_ name: String, of node: UInt64, size: Int, _ request: consuming FUSERequest) {
    let user = request.user
    answer(request, fileSystem.attribute(name, of: node, user: user), undo: { _ in }) {
      [self] request, result in
      switch result {
      case .success(let value): request.attribute(value, size: size)
      case .failure(let error): request.error(code(error, "getxattr \(name)", fileSystem.path(of: node)))
      }
    }
  }

  func attributeNames(of node: UInt64, size: Int, _ request: consuming FUSERequest) {
    let list = Array(fileSystem.attributeNames(of: node).map { "\($0)\0" }.joined().utf8)
    request.attribute(list, size: size)
  }

  func statistics(_ request: consuming FUSERequest) {
    switch fileSystem.statistics() {
    case .success(let disk):
      request.statistics(
        FUSEStatistics(
          blockSize: disk.blockSize,
          blocks: disk.blocks,
          freeBlocks: disk.freeBlocks,
          availableBlocks: disk.availableBlocks,
          files: disk.files,
          freeFiles: disk.freeFiles
        )
      )
    case .failure(let error): request.error(error.errno.rawValue)
    }
  }

  // MARK: Answers

  /// Answers now, or when the work is done; the kernel's thread returns immediately.
  private func answer<Value: Sendable>(
    _ request: consuming FUSERequest,
    _ outcome: Outcome<Value>,
    undo: @escaping @Sendable (Value) -> Void,
    _ reply: @escaping @Sendable (consuming FUSERequest, Result<Value, FileSystemError>) -> Void
  ) {
    switch outcome {
    case .now(let result): reply(request, result)
    case .later(let body):
      let box = RequestBox(request)
      let start = ContinuousClock.now
      waiting.start(box, late: { [late] in reply($0, .failure(late)) }) {
        let result = await body()
        self.metrics.lookUpTime.observe(.now - start)
        if let request = box.take() {
          reply(request, result)
        } else if case .success(let value) = result {
          // The deadline answered the request, so the kernel does not know of the result.
          undo(value)
        }
      }
    }
  }

  /// Logs a failed operation and returns its errno.
  private func code(_ error: FileSystemError, _ operation: String, _ path: String) -> Int32 {
    FailureLog.note(error, operation: operation, path: path, metrics: metrics, log: log)
    return error.errno.rawValue
  }

  private static func entry(_ entry: Entry) -> FUSEEntry {
    FUSEEntry(
      node: entry.node,
      attributes: attributes(entry.attributes),
      entryTimeout: entry.entryTimeout.inSeconds,
      attributeTimeout: entry.attributeTimeout.inSeconds
    )
  }

  private static func attributes(_ attributes: FileAttributes) -> FUSEAttributes {
    FUSEAttributes(
      inode: attributes.inode,
      mode: mode(attributes.kind) | attributes.mode,
      size: attributes.size,
      blocks: attributes.blocks,
      linkCount: attributes.linkCount,
      modificationTime: attributes.modificationTime,
      userIdentifier: attributes.userIdentifier,
      groupIdentifier: attributes.groupIdentifier
    )
  }

  private static func mode(_ kind: FileAttributes.Kind) -> UInt32 {
    switch kind {
    case .directory: S_IFDIR
    case .file: S_IFREG
    case .symbolicLink: S_IFLNK
    }
  }
}

extension Duration {
  fileprivate var inSeconds: Double {
    let (seconds, attoseconds) = components
    return Double(seconds) + Double(attoseconds) / 1e18
  }
}
