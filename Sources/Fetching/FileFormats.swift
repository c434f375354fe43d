package import Content

/// The files in a blob, with the positions of their headers and tensors.
///
/// Pure.
package struct FileFormats: Sendable {
  private enum Knowledge: Sendable {
    case unread
    /// More bytes are needed: the header is read again from `reach` bytes on; it probably ends at `likely`.
    case needs(reach: Int64, likely: Int64)
    case known(TensorLayout)
    case none
  }

  private struct File: Sendable {
    /// The byte range of the file in the blob.
    let range: Range<Int64>
    /// The path from the root of the mount.
    let name: String
    /// The format that the name of the file implies; nil for none.
    let magic: ModelMagic?
    var isSafetensors: Bool { magic == .safetensors }
    /// Whether the name implies a header that locates the tensors.
    var isModel: Bool { magic != nil }
    var knowledge = Knowledge.unread
    var isBeingRead = false
    /// Whether a reader asked for the first bytes, so that they arrive and are parsed.
    var isBegun = false
  }

  private let blobSize: Int64
  private var files: [File] = []

  // The maximum number of files; a tar of thousands of small files is read in order or not at all.
  private static let fileLimit = 256

  /// Creates the formats of a blob without known files.
  ///
  /// - Parameter blobSize: The size of the blob in bytes.
  package init(blobSize: Int64) { self.blobSize = blobSize }

  /// Adds a file of the blob.
  ///
  /// - Parameters:
  ///   - range: The byte range of the file in the blob.
  ///   - name: The name of the file, which implies its format.
  package mutating func add(_ range: Range<Int64>, name: String) {
    guard !range.isEmpty, files.count < Self.fileLimit, !files.contains(where: { $0.range == range }) else {
      return
    }
    files.append(File(range: range, name: name, magic: ModelMagic(name: name)))
  }

  /// Returns the format implied by the name of the file that starts at an offset, and the size of the file.
  ///
  /// - Parameter offset: The offset in the blob.
  /// - Returns: nil if no file starts there, or its name implies no format.
  package func promise(at offset: Int64) -> (magic: ModelMagic, size: Int64)? {
    for file in files where file.range.lowerBound == offset {
      if let magic = file.magic { return (magic, Int64(file.range.count)) }
    }
    return nil
  }

  // The number of bytes that the kernel may read ahead of a program that reads only a header.
  private static let readahead: Int64 = 1 << 20

  // The size in bytes up to which a header may extend that is not parsed yet; a vocabulary takes a few MiB.
  private static let probableHeader: Int64 = 16 << 20

  /// Judges whether a read is in a model file's header, or in the kernel's readahead after it.
  ///
  /// - Parameter offset: The offset of the read in the blob.
  /// - Returns: False for content and for files of unknown format; nil if the header must be parsed first, and
  ///   will be.
  package mutating func isHeader(at offset: Int64) -> Bool? {
    guard let index = files.firstIndex(where: { $0.range.contains(offset) }), files[index].isModel else {
      return false
    }
    let distance = offset - files[index].range.lowerBound
    if distance < ReadWindow.first { files[index].isBegun = true }
    switch files[index].knowledge {
    case .known(let layout): return distance < layout.headerEnd + Self.readahead
    case .needs(_, let likely): return distance < likely + Self.readahead
    case .none: return false
    case .unread where distance < Self.readahead: return true
    case .unread: return files[index].isBegun && distance < Self.probableHeader ? nil : false
    }
  }

  /// Returns the name of the file at an offset, for messages, or nil if none is known.
  ///
  /// - Parameter offset: The offset in the blob; nil for the first file.
  package func name(at offset: Int64?) -> String? {
    guard let offset else { return files.first?.name }
    return files.first { $0.range.contains(offset) }?.name
  }

  /// Returns the region of an offset, and how many bytes to request at the start of a file.
  ///
  /// - Parameter offset: The offset in the blob.
  /// - Returns: The region is nil if none is known.
  package func region(at offset: Int64) -> (ReadWindow.Region?, first: Int64) {
    guard let file = files.first(where: { $0.range.contains(offset) }) else { return (nil, ReadWindow.first) }
    let start = file.range.lowerBound
    func shifted(_ range: Range<Int64>) -> Range<Int64> {
      start + range.lowerBound..<start + range.upperBound
    }
    // The first bytes of a safetensors file hold the length of its header; most headers are short.
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
      // The content is read before the header is parsed: until its end is known, the window is short.
      let step = (offset - start - likely) / ReadWindow.first
      let from = likely + step * ReadWindow.first
      return (.init(shifted(from..<from + ReadWindow.first), isWhole: false), first)
    case .unread where file.isModel && offset - start < first:
      // The first bytes are parsed as soon as they arrive.
      return (.init(shifted(0..<first), isWhole: true), first)
    case .unread, .none:
      // A file that is the complete blob is not a region: no bytes follow it.
      let isWhole = file.range == 0..<blobSize
      return (isWhole ? nil : .init(file.range, isWhole: false), first)
    }
  }

  /// Finds a file whose header can be read further, and marks it as being read.
  ///
  /// - Parameters:
  ///   - arrived: The bytes that became present; nil to check all files.
  ///   - ready: Returns how many contiguous bytes are present from an offset on, up to a limit.
  /// - Returns: The index of the file, and the bytes of the blob to read; nil if there is none.
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

  /// Takes the result of parsing the beginning of a file.
  ///
  /// - Parameters:
  ///   - finding: The result; nil if the bytes could not be read.
  ///   - index: The index of the file.
  ///   - count: The number of bytes that were read.
  package mutating func note(_ finding: TensorLayout.Finding?, of index: Int, count: Int64) {
    files[index].isBeingRead = false
    switch finding {
    case nil: break
    case .none?: files[index].knowledge = .none
    case .more(let least, let likely)?:
      // The length doubles each time, so that reading in pieces costs at most twice as much as reading once.
      files[index].knowledge = .needs(reach: max(least, min(2 * count, likely)), likely: likely)
    case .found(let layout)?: files[index].knowledge = .known(layout)
    }
  }

  /// Returns the size of a file.
  ///
  /// - Parameter index: The index of the file.
  package func size(of index: Int) -> Int64 { Int64(files[index].range.count) }

  /// Returns the tensors of a file, or nil if its header was not read.
  ///
  /// - Parameter range: The byte range of the file in the blob.
  package func layout(of range: Range<Int64>) -> TensorLayout? {
    guard let file = files.first(where: { $0.range == range }), case .known(let layout) = file.knowledge
    else {
      return nil
    }
    return layout
  }
}
