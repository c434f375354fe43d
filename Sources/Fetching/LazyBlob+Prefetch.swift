import BlobCache
import Disk
package import Content
import LocalRegistry
import OCI
import Locking
import SystemPackage

/// Fetches bytes before a reader requests them.
extension LazyBlob {
  /// Fetches a range ahead of its readers and waits until it may be served.
  ///
  /// - Parameter range: A byte range within the blob.
  /// - Throws: `ContentError`.
  package func prefetch(_ range: Range<Int64>) async throws(ContentError) {
    guard !range.isEmpty else { return }
    guard mayServePartial else { return try await complete() }
    let result: Result<Void, ContentError> = await withCheckedContinuation { continuation in
      let reply = ReadReply(responder: CompletionResponder(continuation), token: 0)
      enqueue(reply, range, caller: nil, isForWhole: false)
      checkChunks(in: range)
      handle(.checkWanted)
      start(FetchRequest(range, .window))
    }
    try result.get()
  }

  /// Returns the tensors of a file in the blob, or nil if the file is neither GGUF nor safetensors; fetches
  /// its header.
  ///
  /// - Parameter file: The byte range of the file in the blob.
  /// - Throws: `ContentError`.
  package func tensorLayout(of file: Range<Int64>) async throws(ContentError) -> TensorLayout? {
    var reach = min(Int64(file.count), 128 << 10)
    while true {
      let range = file.lowerBound..<file.lowerBound + reach
      try await prefetch(range)
      let bytes = try await store.local.executor.run { () throws(ContentError) in try self.presentBytes(range)
      }
      switch TensorLayout.read(bytes, size: Int64(file.count)) {
      case .none: return nil
      case .found(let layout): return layout
      case .more(_, let likely):
        guard likely > reach else { return nil }
        reach = min(Int64(file.count), likely)
      }
    }
  }

  private func presentBytes(_ range: Range<Int64>) throws(ContentError) -> [UInt8] {
    let phase = state.withLock { $0.blob.phase }
    var bytes = [UInt8](repeating: 0, count: range.count)
    // A failed read is reported as missing bytes below.
    let count: Int? = bytes.withUnsafeMutableBytes { buffer in
      switch phase {
      case .complete(let file, _): try? file.read(into: buffer, at: range.lowerBound)
      case .partial(let content), .settling(let content):
        try? content.blob.read(into: buffer, at: range.lowerBound)
      case .bad: nil
      }
    }
    guard count == range.count else {
      throw badness ?? ContentError(.disk, "\(descriptor.digest)", "the bytes \(range) cannot be read")
    }
    return bytes
  }
}
