import ArtifactTree
import Content
import OCI

/// Layers in memory.
struct MemoryLayers: LayerBytes {
  var contents: [Digest: [UInt8]] = [:]

  mutating func add(
    _ bytes: [UInt8],
    _ type: String = "a/b",
    _ annotations: [String: String] = [:]
  ) -> Descriptor {
    let digest = Verification.digest(of: bytes)
    contents[digest] = bytes
    return Descriptor(
      mediaType: MediaType(rawValue: type),
      digest: digest,
      size: Int64(bytes.count),
      annotations: annotations
    )
  }

  func read(
    _ layer: Descriptor,
    into buffer: UnsafeMutableRawBufferPointer,
    at offset: Int64
  ) throws(ContentError) -> Int {
    guard let bytes = contents[layer.digest] else { throw ContentError(.notFound, "\(layer.digest)", "none") }
    let count = max(0, min(buffer.count, bytes.count - Int(offset)))
    buffer.copyBytes(from: bytes[Int(offset)..<Int(offset) + count])
    return count
  }
}

extension TreeLoader {
  /// Returns a loader with its own caches.
  static func fresh(_ firstBytes: FirstBytes = FirstBytes()) -> TreeLoader {
    let indexes = TarIndexCache(executor: BlockingExecutor(label: "test", threads: 2))
    return TreeLoader(indexes: indexes, firstBytes: firstBytes)
  }
}
