import Archive
import Content
package import OCI

/// Why layers of undecided types cannot be what their names promise, told by their first bytes and kept by digest.
package actor FirstBytes {
  /// A layer, and a name that it has.
  struct Question: Hashable, Sendable {
    let layer: Descriptor
    let magic: ModelMagic

    fileprivate var key: Key { Key(digest: layer.digest, magic: magic) }
  }

  fileprivate struct Key: Hashable, Sendable {
    let digest: Digest
    let magic: ModelMagic
  }

  /// What first bytes say of a name.
  private enum Verdict: Sendable {
    case plausible
    case doubtful(String)
  }

  private var known: [Key: Verdict] = [:]
  private let executor: BlockingExecutor

  /// The most that are read at once, of all artifacts.
  package static let parallelism = 8
  private static let limit = 10_000

  /// Makes an empty memory.
  package init() { executor = BlockingExecutor(label: "weightfs.first", threads: Self.parallelism) }

  /// Reads the first bytes of layers, where they are not known.
  ///
  /// - Parameters:
  ///   - questions: layers, each with a name's promise.
  ///   - bytes: of the layers.
  /// - Returns: for each layer that cannot be what its name promises, why. A layer whose bytes cannot be had is not
  ///   among them: reading the file holds its first bytes against its name again.
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

  /// Forgets what was read of a layer that turned out wrong.
  ///
  /// - Parameter digest: of the layer.
  package func remove(_ digest: Digest) {
    for magic in ModelMagic.allCases { known[Key(digest: digest, magic: magic)] = nil }
  }

  /// Nil where the bytes cannot be had.
  private static func judge(_ question: Question, _ bytes: any LayerBytes) -> Verdict? {
    let layer = question.layer
    var first = [UInt8](repeating: 0, count: Int(min(Int64(ArchiveFormat.length), layer.size)))
    let count = try? first.withUnsafeMutableBytes { buffer in try bytes.read(layer, into: buffer, at: 0) }
    guard count == first.count else { return nil }
    if let format = ArchiveFormat(first: first) {
      return .doubtful("by its first bytes it is a \(format.rawValue) (media type \(layer.mediaType))")
    }
    return question.magic.doubt(first, size: layer.size).map { .doubtful($0) } ?? .plausible
  }
}
