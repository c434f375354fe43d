import Layouts
import ArtifactTree
import Content
import Dispatch
import Fetching
import Glibc
import LocalRegistry
import OCI
import Locking

/// Reads layers through their blobs, blocking a thread of an executor until the bytes are present.
final class BlockingLayerBytes: LayerBytes {
  private let store: BlobStore
  private let layout: (any LocalRepository)?
  private let source: (any Repository)?
  private let reference: Reference?
  private let open = Mutex<[Digest: LazyBlob]>([:])

  init(
    store: BlobStore,
    layout: (any LocalRepository)?,
    source: (any Repository)?,
    reference: Reference?
  ) {
    self.reference = reference
    self.store = store
    self.layout = layout
    self.source = source
  }

  func read(
    _ layer: Descriptor,
    into buffer: UnsafeMutableRawBufferPointer,
    at offset: Int64
  ) throws(ContentError) -> Int {
    let count = Int(max(0, min(Int64(buffer.count), layer.size - offset)))
    guard count > 0 else { return 0 }
    let blob = try blob(layer)
    let waiter = SemaphoreResponder()
    blob.read(
      offset..<offset + Int64(count),
      caller: nil,
      isMetadata: true,
      reply: ReadReply(responder: waiter, token: 0)
    )
    let bytes = try waiter.wait()
    guard bytes.count == count else {
      throw ContentError(.disk, "\(layer.digest)", "the layer's file is shorter than expected")
    }
    buffer.copyBytes(from: bytes)
    return count
  }

  private func blob(_ layer: Descriptor) throws(ContentError) -> LazyBlob {
    if let blob = open.withLock({ $0[layer.digest] }) { return blob }
    let semaphore = DispatchSemaphore(value: 0)
    let box = ResultBox()
    let (store, layout, source, reference) = (store, layout, source, reference)
    Task {
      do throws(ContentError) {
        box.set(
          .success(try await store.open(layer, layout: layout, source: source, reference: reference))
        )
      } catch {
        box.set(.failure(error))
      }
      semaphore.signal()
    }
    semaphore.wait()
    guard let outcome = box.get() else {
      throw ContentError(.disk, "\(layer.digest)", "cannot open the layer")
    }
    let blob = try outcome.get()
    open.withLock { $0[layer.digest] = blob }
    return blob
  }
}

private final class ResultBox: Sendable {
  private let value = Mutex<Result<LazyBlob, ContentError>?>(nil)

  func set(_ result: Result<LazyBlob, ContentError>) { value.withLock { $0 = result } }
  func get() -> Result<LazyBlob, ContentError>? { value.withLock { $0 } }
}

/// Passes the answer of one read to a waiting thread.
///
/// The blob's deadline bounds the wait.
private final class SemaphoreResponder: ReadResponder {
  private let semaphore = DispatchSemaphore(value: 0)
  private let result = Mutex<Result<[UInt8], ContentError>?>(nil)

  func wait() throws(ContentError) -> [UInt8] {
    semaphore.wait()
    guard let result = result.withLock({ $0 }) else {
      throw ContentError(.disk, "", "the read was not answered")
    }
    return try result.get()
  }

  func answer(_ token: UInt, file descriptor: Int32, offset: Int64, count: Int, keepsPages: Bool) {
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      filled = max(0, pread(descriptor, buffer.baseAddress, count, off_t(offset)))
    }
    finish(.success(bytes))
  }

  func answer(_ token: UInt, bytes: UnsafeRawBufferPointer) { finish(.success(Array(bytes))) }

  func answer(_ token: UInt, error: ContentError) { finish(.failure(error)) }

  private func finish(_ outcome: Result<[UInt8], ContentError>) {
    result.withLock { $0 = outcome }
    semaphore.signal()
  }
}
