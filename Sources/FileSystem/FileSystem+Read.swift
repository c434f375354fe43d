import Stores
import BlobCache
import Layouts
import Disk
import ArtifactTree
package import Content
import Fetching
import LocalRegistry
import Logging
import OCI
import Locking
import SystemPackage
import Telemetry

/// An open file.
package struct OpenedFile: Sendable {
  /// The number that the kernel passes with each read.
  package let handle: UInt64
  /// The number of the backing file that the kernel reads; nil if the daemon serves the reads.
  package let backing: Int32?
  /// Whether the kernel may keep pages of an earlier open; false while reads are recorded.
  package let keepsCache: Bool
}

/// Files and their bytes.
extension FileSystem {
  /// Opens a file for reading.
  ///
  /// - Parameters:
  ///   - identifier: The number of a node.
  ///   - user: The user who asks; nil for weightfs itself.
  /// - Returns: A handle; ESTALE if the node is bad or its blob was removed, and then the kernel looks the
  ///   name up again.
  package func open(_ identifier: UInt64, user: UInt32? = nil) -> Outcome<OpenedFile> {
    guard let node = node(identifier) else { return .now(.failure(FileSystemError(.staleNFSFileHandle))) }
    guard case .file(let file) = node.kind else { return .now(.failure(FileSystemError(.isDirectory))) }
    guard !file.isBad else { return .now(.failure(FileSystemError(.staleNFSFileHandle))) }
    return .later {
      do throws(ContentError) {
        if let broken = file.brokenPromise { throw broken }
        let blob = try await self.openBlob(file)
        if blob.completeFile == nil, !self.names(for: user).mayAsk {
          throw NameService.refusal(node.path, owner: self.options.userIdentifier)
        }
        if blob.completeFile != nil {
          file.wasComplete = true
        } else if file.wasComplete {
          // The blob was evicted, removed or replaced. The next look-up creates a new node.
          self.state.withLock { $0.nodes.retire(node) }
          file.isBad = true
          return .failure(FileSystemError(.staleNFSFileHandle))
        }
        guard !file.isBad else { return .failure(FileSystemError(.staleNFSFileHandle)) }
        file.noteOpen(blob)
        blob.noteFile(file.content.range, name: node.path)
        try await self.checkPromise(of: file, blob, name: node.path)
        await self.findCopy(of: file, blob)
        let backing: Int32?
        switch self.beginOpen(file, blob) {
        case .pass(let number): backing = number
        case .stale:
          self.state.withLock { $0.nodes.retire(node) }
          return .failure(FileSystemError(.staleNFSFileHandle))
        case .serve, .register: backing = nil
        }
        self.metrics.opens.add([backing == nil ? "daemon" : "passthrough"])
        let handle = self.state.withLock { state in
          defer { state.nextHandle += 1 }
          state.files[state.nextHandle] = OpenFile(
            blob: blob,
            file: file,
            name: node.path,
            isPassing: backing != nil
          )
          return state.nextHandle
        }
        return .success(OpenedFile(handle: handle, backing: backing, keepsCache: !blob.isRecording))
      } catch {
        return self.failed(error)
      }
    }
  }

  /// Checks the first bytes of a complete file before the kernel may read it by passthrough.
  private func checkPromise(of file: FileNode, _ blob: LazyBlob, name: String) async throws(ContentError) {
    guard let magic = file.key.promise, let complete = blob.completeFile else { return }
    let first = await local.executor.ask { complete.firstBytes(ModelMagic.length, at: file.content.offset) }
    guard
      let error = PromiseCheck.error(
        magic,
        first.prefix(Int(min(file.content.size, Int64(ModelMagic.length)))),
        file.content.size,
        name,
        file.content.blob.digest
      )
    else {
      file.isPromiseKept = true
      return
    }
    _ = file.doubt(error, isVerified: blob.verifiedFile != nil)
    throw error
  }

  /// Selects how a handle is read, and registers the backing file for the first handle.
  private func beginOpen(_ file: FileNode, _ blob: LazyBlob) -> OpenModes.Action {
    let candidate = backingFile(file, blob)
    let action = file.withModes { $0.open(candidate?.identity) }
    guard action == .register, let candidate else { return action }
    // Registered without the lock; of two concurrent opens the first keeps its registration.
    let number = passthrough.register(candidate)
    let outcome = file.withModes { $0.install(number, candidate.identity) }
    if let number, outcome != .pass(number) { passthrough.remove(number) }
    return outcome
  }

  /// Returns the file that the kernel could read by passthrough: complete, verified, a file of its own, on a
  /// supported file system.
  func backingFile(_ file: FileNode, _ blob: LazyBlob) -> BlobFile? {
    // A file with unchecked first bytes is served by the daemon, which checks them.
    guard !blob.isRecording, file.isPromiseKept, let complete = blob.verifiedFile, !complete.isInMemory else {
      return nil
    }
    let isOwn =
      complete.offset == 0 && complete.identity.size == file.content.size && file.content.isWholeBlob
    guard let backing = isOwn ? complete : file.copy, passthrough.mayTake(backing.identity) else {
      return nil
    }
    return backing
  }

  /// Finds the materialized copy of a file inside a tar or an archive, or starts creating one in the
  /// background.
  private func findCopy(of file: FileNode, _ blob: LazyBlob) async {
    guard options.materializeLimit > 0, let complete = blob.verifiedFile,
      complete.offset > 0 || !file.content.isWholeBlob, file.content.size >= Self.smallestCopy,
      passthrough.mayTake(complete.identity)
    else { return }
    if let known = file.copy, known.isInPlace { return }
    let part = MaterializedFiles.Part(
      blob: file.content.blob.digest,
      offset: file.content.offset,
      size: file.content.size
    )
    let (copies, limit, log) = (local.materialized, options.materializeLimit, log)
    file.copy = await local.executor.ask { copies.find(part) }
    guard file.copy == nil, file.takeCopyTurn(.now, next: .now + Self.copyInterval) else { return }
    copying.start {
      do throws(ContentError) {
        file.copy = try copies.make(part, from: complete, limit: limit)
      } catch {
        log.notice("cannot materialize a file", metadata: ["reason": "\(error)"])
      }
    }
  }

  // After a failure the next attempt is made at an open after this time.
  private static let copyInterval: Duration = .seconds(600)
  // Smaller files are read quickly without passthrough.
  private static let smallestCopy: Int64 = 1 << 20

  /// Returns the layout of a home that may have a blob; nil if the pool has it.
  ///
  /// A home that was recorded behind its look-up names no layout, and a layout may have been rewritten in another
  /// format since.
  func layout(of home: FileNode.Home, for digest: Digest) async throws(ContentError) -> (any LocalRepository)?
  {
    guard let reference = home.reference else { return home.layout }
    if let known = home.layout {
      return known.isThere ? known : try await local.artifact(reference)?.repository ?? known
    }
    let pool = local.pool
    if await local.executor.ask({ pool.has(digest) }) { return nil }
    return try await local.artifact(reference)?.repository
  }

  func openBlob(_ file: FileNode) async throws(ContentError) -> LazyBlob {
    var opened: LazyBlob?
    var failure: ContentError?
    for home in file.homes {
      do throws(ContentError) {
        let layout = try await layout(of: home, for: file.content.blob.digest)
        opened = try await store.open(
          file.content.blob,
          layout: layout,
          source: home.source,
          reference: home.reference
        )
      } catch {
        // Another home may have the right bytes.
        failure = failure ?? error
      }
    }
    if let opened { return opened }
    if let failure { throw failure }
    return try await store.open(file.content.blob, layout: nil, source: nil)
  }

  /// Reads bytes of an open file; the reply is answered immediately or later.
  ///
  /// - Parameters:
  ///   - handle: From `open`.
  ///   - offset: The offset in the file in bytes.
  ///   - count: The number of bytes.
  ///   - caller: The thread that reads.
  ///   - reply: Answered exactly once.
  package func read(
    _ handle: UInt64,
    offset: Int64,
    count: Int,
    caller: Int32,
    reply: consuming ReadReply
  ) {
    guard let file = state.withLock({ $0.files[handle] }) else {
      reply.fail(ContentError(.stale, "", "read of a file that is not open"))
      return
    }
    let end = offset < file.content.size ? min(file.content.size, offset + Int64(count)) : offset
    guard offset >= 0, offset < end else {
      reply.bytes(UnsafeRawBufferPointer(start: nil, count: 0))
      return
    }
    let range = file.content.offset + offset..<file.content.offset + end
    guard offset == 0, let magic = file.file.key.promise else {
      file.blob.read(range, caller: caller, reply: reply)
      return
    }
    if let broken = file.file.brokenPromise { return reply.fail(broken) }
    let check = PromiseCheck(magic, file.file, file.blob, name: file.name, reply)
    file.blob.read(range, caller: caller, reply: ReadReply(responder: check, token: 0))
  }

  /// Closes a file.
  ///
  /// - Parameter handle: From `open`.
  package func close(_ handle: UInt64) {
    // May release the last reference to a blob, which must not happen with the lock held.
    let open = state.withLock { $0.files.removeValue(forKey: handle) }
    guard let open else { return }
    let backing = open.file.withModes { $0.close(isPassing: open.isPassing) }
    if let backing { passthrough.remove(backing) }
    if !open.isPassing, open.blob.verifiedFile != nil { dropServedPages(of: open.blob.descriptor.digest) }
  }

  /// Removes pages that the daemon filled from the kernel's cache, for files that the kernel reads by
  /// passthrough from now on.
  ///
  /// Otherwise the file is in memory twice, until the next open removes the pages and waits for it: about 0.1
  /// s per GiB.
  func dropServedPages(of digest: Digest) {
    let (body, nodes) = state.withLock { ($0.invalidate, $0.nodes.files(of: digest)) }
    guard let body else { return }
    let idle = nodes.filter { node in
      guard case .file(let file) = node.kind, let blob = file.openBlob, backingFile(file, blob) != nil else {
        return false
      }
      // An open file keeps its pages, as a process may have mapped them.
      return file.withModes { $0.takeServedPages() }
    }
    if !idle.isEmpty { body(idle.map(\.identifier)) }
  }
}
