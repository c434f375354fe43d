import Archive
import ArtifactTree
import Content
import OCI
import Synchronization

/// Layers in memory.
struct MemoryLayers: LayerBytes {
  var contents: [Digest: [UInt8]] = [:]
  private let decompressed = DecompressedLayers()

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
    guard let bytes = contents[layer.digest] ?? decompressed[layer.digest] else {
      throw ContentError(.notFound, "\(layer.digest)", "none")
    }
    let count = max(0, min(buffer.count, bytes.count - Int(offset)))
    guard count > 0 else { return 0 }
    buffer.copyBytes(from: bytes[Int(offset)..<Int(offset) + count])
    return count
  }
}

extension MemoryLayers {
  func compression(of layer: Descriptor) -> Compression? { nil }

  func unpacked(
    _ layer: Descriptor,
    _ compression: Compression
  ) async throws(ContentError) -> Descriptor {
    do {
      let stream = try DecompressedStream(MemorySource(contents[layer.digest] ?? []), compression)
      var bytes: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      while true {
        let count = try buffer.withUnsafeMutableBytes { try stream.read(into: $0) }
        bytes += buffer[..<count]
        if count < buffer.count { break }
      }
      let digest = Verification.digest(of: bytes)
      decompressed[digest] = bytes
      return Descriptor(mediaType: MediaType(rawValue: "a/b"), digest: digest, size: Int64(bytes.count))
    } catch {
      throw ContentError(.corrupt, "\(layer.digest)", "\(error)", underlying: error)
    }
  }
}

private final class DecompressedLayers: Sendable {
  private let contents = Mutex<[Digest: [UInt8]]>([:])

  subscript(digest: Digest) -> [UInt8]? {
    get { contents.withLock { $0[digest] } }
    set { contents.withLock { $0[digest] = newValue } }
  }
}

/// Bytes in memory as a source.
final class MemorySource: ByteSource {
  private let bytes: [UInt8]

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var size: Int64 { Int64(bytes.count) }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(ArchiveError) -> Int {
    let count = max(0, min(buffer.count, bytes.count - Int(offset)))
    guard count > 0 else { return 0 }
    buffer.copyBytes(from: bytes[Int(offset)..<Int(offset) + count])
    return count
  }
}

extension TreeLoader {
  /// Returns a loader with its own caches.
  static func fresh(
    _ firstBytes: FirstBytes = FirstBytes(),
    showsCompleteImages: Bool = false
  ) -> TreeLoader {
    let indexes = TarIndexCache(executor: BlockingExecutor(label: "test", threads: 2))
    return TreeLoader(
      indexes: indexes,
      firstBytes: firstBytes,
      showsCompleteImages: showsCompleteImages
    )
  }
}
