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

/// An open file.
package struct OpenedFile: Sendable {
  /// Comes back with each read.
  package let handle: UInt64
  /// The number of the file that the kernel reads itself; nil where reads come to the daemon.
  package let backing: Int32?
  /// Pages of an earlier open may be used; not while reads are recorded.
  package let keepsCache: Bool
}

/// Files and their bytes.
extension FileSystem {
  /// Opens a file for reading.
  ///
  /// - Parameters:
  ///   - identifier: of a node.
  ///   - user: who asks; nil for weightfs itself.
  /// - Returns: a handle; ESTALE where the node is bad or its blob gone, on which the kernel looks the name up again.
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
          // Gone: evicted, removed, or replaced by another process. A new node begins where this one did.
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

  /// Looks at the first bytes of a complete file before the kernel may read it by itself.
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

  /// Chooses how a handle is read, and registers the backing file of the first one.
  private func beginOpen(_ file: FileNode, _ blob: LazyBlob) -> OpenModes.Action {
    let candidate = backingFile(file, blob)
    let action = file.withModes { $0.open(candidate?.identity) }
    guard action == .register, let candidate else { return action }
    // Asked without the lock; of two opens at once the first keeps its registration.
    let number = passthrough.register(candidate)
    let outcome = file.withModes { $0.install(number, candidate.identity) }
    if let number, outcome != .pass(number) { passthrough.remove(number) }
    return outcome
  }

  /// The file that the kernel could read in place of the daemon: whole, verified, of its own, of a kind that it takes.
  func backingFile(_ file: FileNode, _ blob: LazyBlob) -> BlobFile? {
    // What was not looked at yet is served by the daemon, which looks.
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

  /// Looks for a copy of a file that lies inside a tar or an archive, and has one made behind what else is going on.
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
        log.notice("a file was not copied out of its archive", metadata: ["reason": "\(error)"])
      }
    }
  }

  // What failed once is not tried at each open.
  private static let copyInterval: Duration = .seconds(600)
  // Smaller ones are read in a moment, whoever reads them.
  private static let smallestCopy: Int64 = 1 << 20

  /// Where a home's blobs lie now: its layout may have been rewritten in another format since.
  func layout(of home: FileNode.Home) async throws(ContentError) -> (any LocalRepository)? {
    guard let known = home.layout, !known.isThere, let reference = home.reference else { return home.layout }
    return try await local.artifact(reference)?.repository ?? known
  }

  func openBlob(_ file: FileNode) async throws(ContentError) -> LazyBlob {
    var opened: LazyBlob?
    var failure: ContentError?
    for home in file.homes {
      do throws(ContentError) {
        let layout = try await layout(of: home)
        opened = try await store.open(
          file.content.blob,
          layout: layout,
          source: home.source,
          reference: home.reference
        )
      } catch {
        // Another place may have it right.
        failure = failure ?? error
      }
    }
    if let opened { return opened }
    if let failure { throw failure }
    return try await store.open(file.content.blob, layout: nil, source: nil)
  }

  /// Reads bytes of an open file; the reply is answered now or later.
  ///
  /// - Parameters:
  ///   - handle: from `open`.
  ///   - offset: bytes.
  ///   - count: bytes.
  ///   - caller: the thread that reads.
  ///   - reply: answered exactly once.
  package func read(
    _ handle: UInt64,
    offset: Int64,
    count: Int,
    caller: Int32,
    reply: consuming ReadReply
  ) {
    guard let file = state.withLock({ $0.files[handle] }) else {
      reply.fail(ContentError(.stale, "", "a read of a file that is not open"))
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
  /// - Parameter handle: from `open`.
  package func close(_ handle: UInt64) {
    // The last reference to a blob may go here: not with the lock held.
    let open = state.withLock { $0.files.removeValue(forKey: handle) }
    guard let open else { return }
    let backing = open.file.withModes { $0.close(isPassing: open.isPassing) }
    if let backing { passthrough.remove(backing) }
    if !open.isPassing, open.blob.verifiedFile != nil { dropServedPages(of: open.blob.descriptor.digest) }
  }

  /// Takes pages that the daemon filled out of the kernel, of files that the kernel reads itself from now on.
  ///
  /// The next open would do so, and wait for it: a tenth of a second for each GiB. Until then the file is in memory twice.
  func dropServedPages(of digest: Digest) {
    let (body, nodes) = state.withLock { ($0.invalidate, $0.nodes.files(of: digest)) }
    guard let body else { return }
    let idle = nodes.filter { node in
      guard case .file(let file) = node.kind, let blob = file.openBlob, backingFile(file, blob) != nil else {
        return false
      }
      // A file that is open keeps its pages: somebody may have mapped them.
      return file.withModes { $0.takeServedPages() }
    }
    if !idle.isEmpty { body(idle.map(\.identifier)) }
  }
}
