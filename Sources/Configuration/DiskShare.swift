/// An amount of disk space: bytes such as `20G`, or a percentage of the disk such as `5%`.
package enum DiskShare: Sendable, Equatable {
  case bytes(Int64)
  case percent(Double)

  /// Parses a text, or returns nil.
  package init?(_ text: String) {
    if text.hasSuffix("%") {
      let digits = text.dropLast()
      guard digits.allSatisfy({ "0123456789.".contains($0) }), let value = Double(digits),
        (0...100).contains(value)
      else { return nil }
      self = .percent(value)
    } else {
      guard let count = ByteCount(text) else { return nil }
      self = .bytes(count.bytes)
    }
  }

  /// Whether it is less than a number of bytes on every disk.
  package func isBelow(_ bytes: Int64) -> Bool {
    switch self {
    case .bytes(let count): count < bytes
    case .percent(let value): value == 0
    }
  }

  /// Returns the amount in bytes; 0 for a percentage of a disk of unknown size.
  ///
  /// - Parameter diskSize: The size of the disk in bytes, or nil.
  package func bytes(of diskSize: Int64?) -> Int64 {
    switch self {
    case .bytes(let count): count
    case .percent(let value): Int64(Double(diskSize ?? 0) * value / 100)
    }
  }
}

extension DiskShare: CustomStringConvertible {
  /// The text that gives this value as an option.
  package var description: String {
    switch self {
    case .bytes(let count): "\(ByteCount(bytes: count))"
    case .percent(let value): "\(value)%"
    }
  }
}
