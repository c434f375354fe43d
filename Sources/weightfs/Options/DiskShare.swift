import ArgumentParser

/// An amount of a disk: bytes as in `20G`, or a share of the disk as in `5%`.
enum DiskShare: ExpressibleByArgument, Equatable {
  case bytes(Int64)
  case percent(Double)

  init?(argument: String) {
    if argument.hasSuffix("%") {
      guard let value = Double(argument.dropLast()), (0...100).contains(value) else { return nil }
      self = .percent(value)
    } else {
      guard let count = ByteCount(argument: argument) else { return nil }
      self = .bytes(count.bytes)
    }
  }

  /// The amount in bytes.
  ///
  /// - Parameter diskSize: of the disk; nil where it cannot be told, and a share of it is nothing.
  /// - Returns: 0 for a share of an unknown disk.
  func bytes(of diskSize: Int64?) -> Int64 {
    switch self {
    case .bytes(let count): count
    case .percent(let value): Int64(Double(diskSize ?? 0) * value / 100)
    }
  }
}
