package import Content

/// What is known of the files in a blob: where they lie, and where their headers and tensors do.
///
/// Pure.
package struct FileFormats: Sendable {
  private enum Knowledge: Sendable {
    case unread
    /// Not long enough yet: worth another look from `reach` on; it probably ends at `likely`.
    case needs(reach: Int64, likely: Int64)
    case known(TensorLayout)
    case none
  }

  private struct File: Sendable {
    /// Bytes of the blob.
    let range: Range<Int64>
    /// From the root of the mount.
    let name: String
    /// What its name promises.
    let magic: ModelMagic?
    var isSafetensors: Bool { magic == .safetensors }
    /// By its name it has a header that says where its parts lie.
    var isModel: Bool { magic != nil }
    var knowledge = Knowledge.unread
    var isBeingRead = false
  }

  private let blobSize: Int64
  private var files: [File] = []

  // A tar of thousands of small files is read in order or not at all.
  private static let fileLimit = 256

  /// A blob whose files are not known.
  ///
  /// - Parameter blobSize: bytes.
  package init(blobSize: Int64) { self.blobSize = blobSize }

  /// Notes that a file lies in the blob.
  ///
  /// - Parameters:
  ///   - range: bytes of the blob.
  ///   - name: of the file; tells what to expect.
  package mutating func add(_ range: Range<Int64>, name: String) {
    guard !range.isEmpty, files.count < Self.fileLimit, !files.contains(where: { $0.range == range }) else {
      return
    }
    files.append(File(range: range, name: name, magic: ModelMagic(name: name)))
  }

  /// What the name of the file that starts at a byte promises of its first bytes.
  ///
  /// - Parameter offset: in the blob.
  /// - Returns: nil where no file starts, or its name promises nothing.
  package func promise(at offset: Int64) -> (magic: ModelMagic, size: Int64)? {
    for file in files where file.range.lowerBound == offset {
      if let magic = file.magic { return (magic, Int64(file.range.count)) }
    }
    return nil
  }

  // What the kernel may read ahead of a program that reads a header alone.
  private static let readahead: Int64 = 1 << 20

  /// Whether a read is one of a model file's header, or of what the kernel reads ahead behind it.
  ///
  /// - Parameter offset: where it starts, in the blob.
  /// - Returns: false for content, and for blobs of no known format.
  package func isHeader(at offset: Int64) -> Bool {
    guard let file = files.first(where: { $0.range.contains(offset) }), file.isModel else { return false }
    let end: Int64 =
      switch file.knowledge {
      case .known(let layout): layout.headerEnd
      case .needs(_, let likely): likely
      case .unread: 0
      case .none: -Self.readahead
      }
    return offset - file.range.lowerBound < end + Self.readahead
  }

  /// The name of the file that a byte lies in, for messages.
  ///
  /// - Parameter offset: in the blob; nil for the first file.
  /// - Returns: nil where none is known.
  package func name(at offset: Int64?) -> String? {
    guard let offset else { return files.first?.name }
    return files.first { $0.range.contains(offset) }?.name
  }

  /// What a byte lies in, and how much of a file's beginning to ask for.
  ///
  /// - Parameter offset: in the blob.
  /// - Returns: nil where nothing is known.
  package func region(at offset: Int64) -> (ReadWindow.Region?, first: Int64) {
    guard let file = files.first(where: { $0.range.contains(offset) }) else { return (nil, ReadWindow.first) }
    let start = file.range.lowerBound
    func shifted(_ range: Range<Int64>) -> Range<Int64> {
      start + range.lowerBound..<start + range.upperBound
    }
    // Its first bytes say how long its header is; most are short.
    let first: Int64 = file.isSafetensors ? 128 << 10 : ReadWindow.first
    switch file.knowledge {
    case .known(let layout):
      if offset - start < layout.headerEnd {
        return (.init(shifted(0..<layout.headerEnd), isWhole: true), first)
      }
      let tensor = layout.tensor(at: offset - start)
      return (tensor.map { .init(shifted($0.range), isWhole: false) }, ReadWindow.first)
    case .needs(_, let likely) where offset - start < likely:
      return (.init(shifted(0..<likely), isWhole: true), first)
    case .needs(_, let likely):
      // Faster than its header is read: until it is known where that ends, not much farther.
      let step = (offset - start - likely) / ReadWindow.first
      let from = likely + step * ReadWindow.first
      return (.init(shifted(from..<from + ReadWindow.first), isWhole: false), first)
    case .unread where file.isModel && offset - start < first:
      // A moment later its first bytes have been looked at.
      return (.init(shifted(0..<first), isWhole: true), first)
    case .unread, .none:
      // A whole blob is no region: there is nothing behind it.
      let isWhole = file.range == 0..<blobSize
      return (isWhole ? nil : .init(file.range, isWhole: false), first)
    }
  }

  /// Finds a file whose header can be read further, and marks it as being read.
  ///
  /// - Parameters:
  ///   - arrived: bytes that are there since; nil to look at all.
  ///   - ready: how many bytes from an offset on are there without a gap, up to a limit.
  /// - Returns: which file, and the bytes of the blob to read.
  package mutating func takeUnread(
    after arrived: Range<Int64>?,
    _ ready: (_ from: Int64, _ limit: Int64) -> Int64
  ) -> (index: Int, bytes: Range<Int64>)? {
    for (index, file) in files.enumerated() where !file.isBeingRead {
      let least: Int64
      let reach: Int64
      switch file.knowledge {
      case .unread: (least, reach) = (min(9, Int64(file.range.count)), 1)
      case .needs(let needed, _): (least, reach) = (needed, needed)
      case .known, .none: continue
      }
      let start = file.range.lowerBound
      if let arrived, !arrived.overlaps(start..<start + reach) { continue }
      let count = ready(start, min(Int64(file.range.count), TensorLayout.longestHeader))
      guard count >= least else { continue }
      files[index].isBeingRead = true
      return (index, start..<start + count)
    }
    return nil
  }

  /// Takes what the beginning of a file said.
  ///
  /// - Parameters:
  ///   - finding: nil where it could not be read.
  ///   - index: of the file.
  ///   - count: how many bytes were read.
  package mutating func note(_ finding: TensorLayout.Finding?, of index: Int, count: Int64) {
    files[index].isBeingRead = false
    switch finding {
    case nil: break
    case .none?: files[index].knowledge = .none
    case .more(let least, let likely)?:
      // Twice as much each time, so that reading it in pieces costs no more than reading it twice.
      files[index].knowledge = .needs(reach: max(least, min(2 * count, likely)), likely: likely)
    case .found(let layout)?: files[index].knowledge = .known(layout)
    }
  }

  /// The size of a file.
  ///
  /// - Parameter index: of the file.
  package func size(of index: Int) -> Int64 { Int64(files[index].range.count) }

  /// The tensors of a file.
  ///
  /// - Parameter range: of the file in the blob.
  /// - Returns: nil where its header was not read.
  package func layout(of range: Range<Int64>) -> TensorLayout? {
    guard let file = files.first(where: { $0.range == range }), case .known(let layout) = file.knowledge
    else {
      return nil
    }
    return layout
  }
}
