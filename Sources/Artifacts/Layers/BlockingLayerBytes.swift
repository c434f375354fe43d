import Archive
import BlobCache
import Layouts
import ArtifactTree
import Content
import Dispatch
import Fetching
import Glibc
import LocalRegistry
import OCI
import Locking

/// Reads layers from their start to their end.
protocol WholeLayerReader: LayerReader {
  /// Begins to fetch all bytes of a layer, ahead of those that are read.
  func startCompleting(_ layer: Descriptor)
}

/// Reads layers through their blobs, blocking a thread of an executor until the bytes are present; decompressed
/// layers are read like layers.
final class BlockingLayerBytes: LayerBytes, WholeLayerReader {
  private let store: BlobStore
  private let layout: (any LocalRepository)?
  private let source: (any Repository)?
  private let reference: Reference?
  private let unpacker: LayerUnpacker
  private let open = Mutex<[Digest: LazyBlob]>([:])
  private let unpackedSources = Mutex<[Digest: UnpackedSource]>([:])

  init(
    store: BlobStore,
    layout: (any LocalRepository)?,
    source: (any Repository)?,
    reference: Reference?,
    unpacker: LayerUnpacker
  ) {
    self.reference = reference
    self.unpacker = unpacker
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

  /// The sources of the blobs that were decompressed from layers, by digest.
  var sources: [Digest: UnpackedSource] { unpackedSources.withLock { $0 } }

  func unpacked(
    _ layer: Descriptor,
    _ compression: Compression
  ) async throws(ContentError) -> Descriptor {
    let record = try await unpacker.unpacked(layer, compression, self)
    let (store, layout, source, reference, unpacker) = (store, layout, source, reference, unpacker)
    let unpacked = unpacker.source(
      of: layer,
      compression,
      record,
      origin: source?.origin ?? layout?.origin ?? "\(layer.digest)"
    ) {
      BlockingLayerBytes(
        store: store,
        layout: layout,
        source: source,
        reference: reference,
        unpacker: unpacker
      )
    }
    unpackedSources.withLock { $0[record.digest] = unpacked }
    return record.descriptor
  }

  func startCompleting(_ layer: Descriptor) {
    // A failure is that of the reads, too.
    guard let blob = try? blob(layer) else { return }
    Task { try? await blob.complete() }
  }

  func compression(of layer: Descriptor) async -> Compression? {
    await unpacker.record(of: layer.digest).flatMap { Compression(rawValue: $0.compression) }
  }

  private func blob(_ layer: Descriptor) throws(ContentError) -> LazyBlob {
    if let blob = open.withLock({ $0[layer.digest] }) { return blob }
    let (store, layout, reference) = (store, layout, reference)
    let unpacked = unpackedSources.withLock { $0[layer.digest] }
    let source: (any Repository)? = unpacked ?? self.source
    let blob = try Self.wait { () async throws(ContentError) in
      try await store.open(layer, layout: layout, source: source, reference: reference)
    }
    open.withLock { $0[layer.digest] = blob }
    return blob
  }

  /// Runs asynchronous work, blocking the calling thread until it ends.
  private static func wait<Value: Sendable>(
    _ work: @escaping @Sendable () async throws(ContentError) -> Value
  ) throws(ContentError) -> Value {
    let semaphore = DispatchSemaphore(value: 0)
    let box = ResultBox<Value>()
    Task {
      do throws(ContentError) {
        box.set(.success(try await work()))
      } catch {
        box.set(.failure(error))
      }
      semaphore.signal()
    }
    semaphore.wait()
    guard let outcome = box.get() else { throw ContentError(.disk, "", "the work was not done") }
    return try outcome.get()
  }
}

private final class ResultBox<Value: Sendable>: Sendable {
  private let value = Mutex<Result<Value, ContentError>?>(nil)

  func set(_ result: Result<Value, ContentError>) { value.withLock { $0 = result } }
  func get() -> Result<Value, ContentError>? { value.withLock { $0 } }
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
