import Content
import OCI

/// The index of a safetensors model that is split into files: which file has which tensor.
///
/// A model is incomplete if a file that its index names is absent.
enum SafetensorsIndex {
  static let suffix = ".safetensors.index.json"
  // Indexes of the largest models have some megabytes.
  private static let maximumSize: Int64 = 32 << 20
  // Indexes of one artifact that are read: a pipeline of several models has one for each.
  private static let maximumCount = 16
  // Absent files that are named.
  private static let limit = 100

  private struct Document: Decodable {
    let weights: [String: String]

    private enum CodingKeys: String, CodingKey {
      case weights = "weight_map"
    }
  }

  /// Returns the files that indexes of an artifact name and the tree does not have, in the order of their paths.
  ///
  /// Blocks the calling thread until the indexes are fetched. An index that cannot be fetched or parsed names none.
  ///
  /// - Parameters:
  ///   - tree: The tree of the artifact.
  ///   - bytes: Reads its layers.
  static func absentFiles(in tree: FileTree, _ bytes: any LayerBytes) -> [String] {
    let indexes = tree.files.filter { file in
      tree.name(of: file.node).map { $0.description.hasSuffix(suffix) } ?? false
    }
    var absent: Set<String> = []
    for (node, content) in indexes.prefix(maximumCount) {
      guard content.size <= maximumSize, let document = read(content, bytes) else { continue }
      let path = tree.path(of: node)
      let directory = path.lastIndex(of: "/").map { path[...$0] } ?? ""
      for name in Set(document.weights.values) where tree.resolve(directory + name) == nil {
        absent.insert(directory + name)
      }
    }
    return Array(absent.sorted().prefix(limit))
  }

  private static func read(_ content: FileContent, _ bytes: any LayerBytes) -> Document? {
    var text = [UInt8](repeating: 0, count: Int(content.size))
    let count = text.withUnsafeMutableBytes { try? bytes.read(content.blob, into: $0, at: content.offset) }
    guard count == text.count else { return nil }
    return try? JSONDocument.decode(Document.self, from: text)
  }
}
