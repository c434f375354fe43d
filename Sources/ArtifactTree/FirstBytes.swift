import Archive
import Content
package import OCI

/// Checks by their first bytes whether layers of ambiguous media types match the format that their names
/// promise; results are cached by digest.
package actor FirstBytes {
  /// A layer, and the format that a name of it promises.
  struct Question: Hashable, Sendable {
    let layer: Descriptor
    let magic: ModelMagic

    fileprivate var key: Key { Key(digest: layer.digest, magic: magic) }
  }

  fileprivate struct Key: Hashable, Sendable {
    let digest: Digest
    let magic: ModelMagic
  }

  /// The result of a check.
  private enum Verdict: Sendable {
    case plausible
    case doubtful(String)
  }

  private var known: [Key: Verdict] = [:]
  private let executor: BlockingExecutor

  /// The maximum number of layers read in parallel, over all artifacts.
  package static let parallelism = 8
  private static let limit = 10_000

  /// Creates an empty cache.
  package init() { executor = BlockingExecutor(label: "weightfs.first", threads: Self.parallelism) }

  /// Checks the first bytes of layers, reading those that are not cached.
  ///
  /// - Parameters:
  ///   - questions: Layers with the format that their names promise.
  ///   - bytes: Reads the layers.
  /// - Returns: The reason for each layer that does not match. A layer whose bytes cannot be read is omitted:
  ///   its first bytes are checked again when the file is read.
  func doubts(_ questions: [Question], bytes: any LayerBytes) async -> [Question: String] {
    let open = questions.filter { known[$0.key] == nil }
    let executor = executor
    let answers = await withTaskGroup(of: (Key, Verdict?).self) { group in
      for question in open {
        group.addTask { (question.key, await executor.ask { Self.judge(question, bytes) }) }
      }
      return await group.reduce(into: [(Key, Verdict?)]()) { $0.append($1) }
    }
    if known.count + answers.count > Self.limit { known = [:] }
    for (key, verdict) in answers { if let verdict { known[key] = verdict } }
    var doubts: [Question: String] = [:]
    for question in questions {
      if case .doubtful(let reason)? = known[question.key] { doubts[question] = reason }
    }
    return doubts
  }

  /// Forgets the results for a layer that turned out wrong.
  package func remove(_ digest: Digest) {
    for magic in ModelMagic.allCases { known[Key(digest: digest, magic: magic)] = nil }
  }

  /// Returns the result, or nil if the bytes cannot be read.
  private static func judge(_ question: Question, _ bytes: any LayerBytes) -> Verdict? {
    let layer = question.layer
    var first = [UInt8](repeating: 0, count: Int(min(Int64(ArchiveFormat.length), layer.size)))
    // A layer that cannot be read is judged when its file is read.
    let count = try? first.withUnsafeMutableBytes { buffer in try bytes.read(layer, into: buffer, at: 0) }
    guard count == first.count else { return nil }
    if let format = ArchiveFormat(first: first) {
      return .doubtful(
        "by its first bytes the content is a \(format.rawValue) (media type \(layer.mediaType))"
      )
    }
    return question.magic.doubt(first, size: layer.size).map { .doubtful($0) } ?? .plausible
  }
}
