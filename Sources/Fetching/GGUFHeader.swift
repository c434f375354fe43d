import Content

/// The header of a GGUF file, versions 2 and 3, little endian (github.com/ggml-org/ggml, docs/gguf.md).
///
/// The format does not declare the length of its header: it is parsed to its end, and where the bytes end
/// early the length is estimated from the element being parsed.
struct GGUFHeader {
  static let magic = ModelMagic.ggufMagic

  private enum Stop: Error {
    case damaged
    /// The bytes end before this offset.
    case more(least: Int64, likely: Int64)
  }

  // No model exceeds these counts; they bound the work.
  private static let mostTensors: UInt64 = 1 << 20
  private static let mostKeys: UInt64 = 1 << 16
  private static let mostDimensions: UInt32 = 16
  // The number of bytes expected after the current array: other arrays of the vocabulary's size, and the
  // tensors.
  private static let rest: Int64 = 256 << 10

  private let bytes: [UInt8]
  private var position = 0
  /// The number of strings in the longest array so far, which is the vocabulary.
  private var vocabulary: Int64 = 0

  private init(_ bytes: [UInt8]) { self.bytes = bytes }

  static func read(_ bytes: [UInt8], size: Int64) -> TensorLayout.Finding {
    var header = GGUFHeader(bytes)
    do throws(Stop) {
      return .found(try header.layout(size))
    } catch {
      switch error {
      case .damaged: return .none
      case .more(let least, let likely):
        guard least <= min(size, TensorLayout.longestHeader) else { return .none }
        return .more(least: least, likely: min(max(least, likely), size, TensorLayout.longestHeader))
      }
    }
  }

  private mutating func layout(_ size: Int64) throws(Stop) -> TensorLayout {
    position = 4
    let version = try number(UInt32.self)
    guard version == 2 || version == 3 else { throw .damaged }
    let tensorCount = try number(UInt64.self)
    let keyCount = try number(UInt64.self)
    guard tensorCount <= Self.mostTensors, keyCount <= Self.mostKeys else { throw .damaged }
    var alignment: Int64 = 32
    for _ in 0..<keyCount {
      let key = try string()
      let type = try number(UInt32.self)
      if key == "general.alignment", type == 4 {
        alignment = Int64(try number(UInt32.self))
        guard alignment > 0, alignment <= 1 << 20 else { throw .damaged }
      } else {
        try skip(type, depth: 0)
      }
    }
    var starts: [(name: String, offset: Int64)] = []
    for index in 0..<tensorCount {
      do throws(Stop) {
        starts.append(try tensor())
      } catch {
        guard case .more(let least, _) = error else { throw error }
        let each = Int64(index > 0 ? 64 : 96)
        throw .more(least: least, likely: least + Int64(tensorCount - index) * each)
      }
    }
    let end = (Int64(position) + alignment - 1) / alignment * alignment
    guard end <= size else { throw .damaged }
    starts.sort { $0.offset < $1.offset }
    var tensors: [TensorLayout.Tensor] = []
    for (index, start) in starts.enumerated() where start.offset < size - end {
      let next = index + 1 < starts.count ? min(starts[index + 1].offset, size - end) : size - end
      guard next > start.offset else { continue }
      tensors.append(TensorLayout.Tensor(name: start.name, range: end + start.offset..<end + next))
    }
    return TensorLayout(headerEnd: end, tensors: tensors, size: size)
  }

  private mutating func tensor() throws(Stop) -> (name: String, offset: Int64) {
    let name = try string()
    let dimensions = try number(UInt32.self)
    guard dimensions <= Self.mostDimensions else { throw .damaged }
    try advance(Int64(dimensions) * 8 + 4)
    let offset = try number(UInt64.self)
    guard offset <= UInt64(Int64.max) else { throw .damaged }
    return (name, Int64(offset))
  }

  private mutating func need(_ count: Int64) throws(Stop) {
    let end = Int64(position) + count
    guard end <= bytes.count else { throw .more(least: end, likely: end + Self.rest) }
  }

  private mutating func advance(_ count: Int64) throws(Stop) {
    guard count >= 0, count <= TensorLayout.longestHeader else { throw .damaged }
    try need(count)
    position += Int(count)
  }

  private mutating func number<Value: FixedWidthInteger & UnsignedInteger>(
    _: Value.Type
  ) throws(Stop) -> Value {
    let count = MemoryLayout<Value>.size
    try need(Int64(count))
    defer { position += count }
    let place = position
    return bytes.withUnsafeBytes {
      Value(littleEndian: $0.loadUnaligned(fromByteOffset: place, as: Value.self))
    }
  }

  private mutating func length() throws(Stop) -> Int64 {
    let count = try number(UInt64.self)
    guard count <= UInt64(TensorLayout.longestHeader) else { throw .damaged }
    return Int64(count)
  }

  private mutating func string() throws(Stop) -> String {
    let count = try length()
    try need(count)
    defer { position += Int(count) }
    return String(decoding: bytes[position..<position + Int(count)], as: UTF8.self)
  }

  private static func width(_ type: UInt32) -> Int64? {
    switch type {
    case 0, 1, 7: 1
    case 2, 3: 2
    case 4, 5, 6: 4
    case 10, 11, 12: 8
    default: nil
    }
  }

  private mutating func skip(_ type: UInt32, depth: Int) throws(Stop) {
    if let width = Self.width(type) { return try advance(width) }
    switch type {
    case 8: try advance(try length())
    case 9: try skipArray(depth: depth)
    default: throw .damaged
    }
  }

  private mutating func skipArray(depth: Int) throws(Stop) {
    guard depth < 4 else { throw .damaged }
    let type = try number(UInt32.self)
    let count = try length()
    if let width = Self.width(type) {
      let (size, overflow) = width.multipliedReportingOverflow(by: count)
      guard !overflow, size <= TensorLayout.longestHeader else { throw .damaged }
      let end = Int64(position) + size
      guard end <= bytes.count else { throw .more(least: end, likely: end + others(count)) }
      position = Int(end)
      return
    }
    let first = position
    for index in 0..<count {
      do throws(Stop) {
        if type == 8 { try advance(try length()) } else { try skip(type, depth: depth + 1) }
      } catch {
        guard case .more(let least, _) = error, index > 0 else { throw error }
        // The remaining elements are assumed to have the average size of the parsed ones.
        let each = Double(position - first) / Double(index)
        let end = Int64(position) + Int64(Double(count - index) * each * 1.05)
        throw .more(least: least, likely: max(least, end) + others(count))
      }
    }
    if type == 8 { vocabulary = max(vocabulary, count) }
  }

  /// Returns the number of bytes expected after an array: scores and types of a vocabulary not yet parsed to
  /// its end.
  private func others(_ count: Int64) -> Int64 { (count > vocabulary ? 8 * count : 0) + Self.rest }
}
