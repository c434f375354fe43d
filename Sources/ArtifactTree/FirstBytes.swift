import Archive
import Content
package import OCI

/// The first bytes of layers, which show whether a layer is an archive; cached by digest.
package actor FirstBytes {
  /// The first bytes of layers by digest, or why they cannot be read.
  typealias Answers = [Digest: Result<[UInt8], ContentError>]

  private var known: [Digest: [UInt8]] = [:]
  private let executor: BlockingExecutor

  /// The maximum number of layers read in parallel, over all artifacts.
  package static let parallelism = 8
  // Layers. Each needs 512 bytes.
  private static let limit = 4000

  /// Creates an empty cache.
  package init() { executor = BlockingExecutor(label: "weightfs.first", threads: Self.parallelism) }

  /// Returns the first bytes of layers, reading those that are not cached.
  ///
  /// - Parameters:
  ///   - layers: The descriptors of the layers.
  ///   - bytes: Reads the layers.
  /// - Returns: The first `ArchiveFormat.length` bytes of each layer, or all bytes of a shorter one.
  func read(_ layers: Set<Descriptor>, _ bytes: any LayerBytes) async -> Answers {
    var answers: Answers = [:]
    var open: [Descriptor] = []
    for layer in layers {
      if let first = known[layer.digest] {
        answers[layer.digest] = .success(first)
      } else {
        open.append(layer)
      }
    }
    let executor = executor
    await withTaskGroup(of: (Digest, Result<[UInt8], ContentError>).self) { group in
      for layer in open {
        group.addTask { (layer.digest, await executor.ask { Self.first(of: layer, bytes) }) }
      }
      for await (digest, answer) in group { answers[digest] = answer }
    }
    if known.count + open.count > Self.limit { known = [:] }
    for layer in open.prefix(Self.limit) {
      if case .success(let first)? = answers[layer.digest] { known[layer.digest] = first }
    }
    return answers
  }

  /// Forgets the first bytes of a layer that turned out wrong.
  package func remove(_ digest: Digest) { known[digest] = nil }

  private static func first(of layer: Descriptor, _ bytes: any LayerBytes) -> Result<[UInt8], ContentError> {
    let size = Int(min(Int64(ArchiveFormat.length), layer.size))
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
    defer { buffer.deallocate() }
    do throws(ContentError) {
      guard try bytes.read(layer, into: buffer, at: 0) == size else {
        throw ContentError(.disk, "\(layer.digest)", "the layer's file is shorter than expected")
      }
      return .success(Array(buffer))
    } catch {
      return .failure(error)
    }
  }
}
