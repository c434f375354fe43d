import Content
import Hashing
import LocalRegistry
import OCI
import Synchronization
import SystemPackage

/// Hashes a partial blob as its bytes arrive: the whole digest over the contiguous front, the chunk digests of every
/// chunk that is whole.
final class BlobVerifier: Sendable {
  private struct State: ~Copyable {
    /// Nil while a run has it.
    var whole: HashStream?
    /// The next chunk of the front.
    var front = 0
    /// Chunks whose digest stands in the map file.
    var recorded: Set<Int> = []
    /// Chunks that became whole behind a gap.
    var scattered: Set<Int> = []
    /// What came out, once.
    var digest: Digest?
    var isRunning = false
    /// Something arrived while it ran.
    var isAsked = false
  }

  /// What a run came to.
  enum Outcome {
    /// Bytes are missing still.
    case incomplete
    case finished(Digest)
    case failed(ContentError)
  }

  private let blob: PartialBlob
  private let size: Int64
  private let state: Mutex<State>

  init(blob: PartialBlob) {
    self.blob = blob
    size = blob.descriptor.size
    state = Mutex(State(whole: HashStream(blob.descriptor.digest.algorithm)))
  }

  /// Whether the caller is to start a run; one at a time.
  ///
  /// - Parameter chunks: that became whole.
  /// - Returns: true if so.
  func request(_ chunks: [Int]) -> Bool {
    state.withLock { state in
      state.scattered.formUnion(chunks)
      if state.isRunning {
        state.isAsked = true
        return false
      }
      state.isRunning = true
      return true
    }
  }

  /// Hashes all that can be hashed.
  ///
  /// Blocks.
  func run(_ progress: () -> Void) -> Outcome {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(BlockMap.chunkSize), alignment: 4096)
    defer { buffer.deallocate() }
    while true {
      do throws(Errno) {
        if let digest = try hashFront(buffer, progress) {
          state.withLock { $0.isRunning = false }
          return .finished(digest)
        }
        try recordScattered(buffer)
      } catch {
        // What was hashed is lost with the error: the next run begins at the front.
        put(HashStream(blob.descriptor.digest.algorithm), at: 0)
        state.withLock { $0.isRunning = false }
        return .failed(ContentError(.disk, "\(blob.path)", "\(error)"))
      }
      let isAsked = state.withLock { state in
        if !state.isAsked { state.isRunning = false }
        defer { state.isAsked = false }
        return state.isAsked
      }
      if !isAsked { return .incomplete }
    }
  }

  private var chunkCount: Int { Int((size + BlockMap.chunkSize - 1) / BlockMap.chunkSize) }

  private func hashFront(
    _ buffer: UnsafeMutableRawBufferPointer,
    _ progress: () -> Void
  ) throws(Errno) -> Digest? {
    if let digest = state.withLock({ $0.digest }) { return digest }
    var chunk = state.withLock { $0.front }
    guard var whole = state.withLock({ $0.whole.take() }) else { return nil }
    while chunk < chunkCount, blob.contains(chunk: chunk) {
      let bytes = try read(chunk, buffer)
      whole.update(bytes)
      if !state.withLock({ $0.recorded.contains(chunk) }) { record(chunk, bytes) }
      chunk += 1
      progress()
    }
    let digest = chunk == chunkCount ? whole.finish() : nil
    put(whole, at: chunk)
    if let digest { state.withLock { $0.digest = digest } }
    return digest
  }

  private func put(_ whole: consuming HashStream, at chunk: Int) {
    var whole = Optional(whole)
    state.withLock { state in
      state.whole = whole.take()
      state.front = chunk
    }
  }

  /// Chunks behind a gap: their digests let them outlive a reboot.
  private func recordScattered(_ buffer: UnsafeMutableRawBufferPointer) throws(Errno) {
    let chunks = state.withLock { state in
      defer { state.scattered = [] }
      return state.scattered.filter { $0 >= state.front && !state.recorded.contains($0) }.sorted()
    }
    for chunk in chunks where blob.contains(chunk: chunk) {
      if try blob.digest(ofChunk: chunk) == nil {
        record(chunk, try read(chunk, buffer))
      } else {
        _ = state.withLock { $0.recorded.insert(chunk) }
      }
    }
  }

  private func read(
    _ chunk: Int,
    _ buffer: UnsafeMutableRawBufferPointer
  ) throws(Errno) -> UnsafeRawBufferPointer {
    let range = BlockMap.bytes(ofChunk: chunk, size: size)
    let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<range.count])
    guard try blob.read(into: part, at: range.lowerBound) == range.count else { throw Errno.ioError }
    return UnsafeRawBufferPointer(part)
  }

  /// A digest that cannot be recorded costs the chunk at the next reboot, and nothing before.
  private func record(_ chunk: Int, _ bytes: UnsafeRawBufferPointer) {
    guard (try? blob.record(HashStream.digest(of: bytes), ofChunk: chunk)) != nil else { return }
    _ = state.withLock { $0.recorded.insert(chunk) }
  }
}
