import ArtifactTree
package import Content
import Fetching
import LocalRegistry
import OCI
import Synchronization
import SystemPackage

/// Files and their bytes.
extension FileSystem {
  /// Opens a file for reading.
  ///
  /// - Parameter identifier: of a node.
  /// - Returns: a handle; ESTALE where the node is bad or its blob gone, on which the kernel looks the name up again.
  package func open(_ identifier: UInt64) -> Outcome<UInt64> {
    guard let node = node(identifier) else { return .now(.failure(FileSystemError(.staleNFSFileHandle))) }
    guard case .file(let file) = node.kind else { return .now(.failure(FileSystemError(.isDirectory))) }
    guard !file.isBad else { return .now(.failure(FileSystemError(.staleNFSFileHandle))) }
    return .later {
      do throws(ContentError) {
        let blob = try await self.openBlob(file)
        if blob.completeFile != nil {
          file.wasComplete = true
        } else if file.wasComplete {
          // Gone: evicted, removed, or replaced by another process. A new node begins where this one did.
          self.state.withLock { $0.nodes.retire(node) }
          file.isBad = true
          return .failure(FileSystemError(.staleNFSFileHandle))
        }
        guard !file.isBad else { return .failure(FileSystemError(.staleNFSFileHandle)) }
        return .success(
          self.state.withLock { state in
            defer { state.nextHandle += 1 }
            state.files[state.nextHandle] = OpenFile(blob: blob, content: file.content)
            return state.nextHandle
          }
        )
      } catch {
        return self.failed(error)
      }
    }
  }

  private func openBlob(_ file: FileNode) async throws(ContentError) -> LazyBlob {
    var opened: LazyBlob?
    var failure: ContentError?
    for home in file.homes {
      do throws(ContentError) {
        opened = try await store.open(file.content.blob, layout: home.layout, source: home.source)
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
    // Every file is one run of its blob: sparse members are left out of trees.
    guard offset >= 0, offset < end, let extent = file.content.extents.first else {
      reply.bytes(UnsafeRawBufferPointer(start: nil, count: 0))
      return
    }
    let range = extent.blobOffset + offset..<extent.blobOffset + end
    file.blob.read(range, caller: caller, reply: reply)
  }

  /// Closes a file.
  ///
  /// - Parameter handle: from `open`.
  package func close(_ handle: UInt64) {
    // The last reference to a blob may go here: not with the lock held.
    let file = state.withLock { $0.files.removeValue(forKey: handle) }
    withExtendedLifetime(file) {}
  }
}
