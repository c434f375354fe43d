/// The name of a tar's first member, as far as the first bytes of the tar show it.
///
/// A pure value: nothing is read, and no more than `maximumSize` bytes are decompressed.
package struct FirstMember: Sendable, Equatable {
  /// The name, with a slash after that of a directory; a name of more than 100 bytes may be cut off.
  package let name: [UInt8]

  // Extended headers of a member are rarely longer.
  private static let maximumSize = 64 << 10
  // Types of blocks that describe the member that follows (tar(5), "Pax Interchange Format" and "GNU tar Archives").
  private static let extendedHeaders = Array("xgXLK".utf8)
  private static let nameLength = 100

  /// Creates the value for a tar whose members are known.
  ///
  /// - Parameter index: The members of the tar.
  package init?(_ index: TarIndex) {
    guard let first = index.members.first else { return nil }
    let isDirectory = if case .directory = first.kind { true } else { false }
    name = first.name + (isDirectory ? [UInt8(ascii: "/")] : [])
  }

  /// Finds the first member, or returns nil if the bytes do not reach its header.
  ///
  /// - Parameter first: The first bytes of a tar, or of a tar in compressed form.
  package init?(first: [UInt8]) {
    guard let format = ArchiveFormat(first: first) else { return nil }
    let bytes = format.compression.map { Self.decompressed(first, $0) } ?? first
    var start = 0
    while start + TarHeaderBlock.length <= bytes.count {
      let raw = Array(bytes[start..<start + TarHeaderBlock.length])
      guard ArchiveFormat(first: raw) == .tar, let block = TarHeaderBlock(raw) else { return nil }
      guard Self.extendedHeaders.contains(block.type) else {
        name = Array(raw.prefix(Self.nameLength).prefix { $0 != 0 })
        return
      }
      guard let size = block.size, size >= 0, size <= Int64(Self.maximumSize) else { return nil }
      let padded = (Int(size) + TarHeaderBlock.length - 1) / TarHeaderBlock.length * TarHeaderBlock.length
      start += TarHeaderBlock.length + padded
    }
    return nil
  }

  /// Whether the member is a directory of this name at the root, or an entry below it.
  ///
  /// - Parameter directory: One path component.
  package func isBelow(_ directory: String) -> Bool {
    let slash = UInt8(ascii: "/")
    let parts = name.split(separator: slash).drop { $0.elementsEqual([UInt8(ascii: ".")]) }
    guard let first = parts.first, first.elementsEqual(directory.utf8) else { return false }
    return parts.count > 1 || name.last == slash
  }

  private static func decompressed(_ first: [UInt8], _ compression: Compression) -> [UInt8] {
    // Without memory for a decoder nothing is known of the member.
    guard let decoder = try? compression.makeDecoder() else { return [] }
    return [UInt8](unsafeUninitializedCapacity: maximumSize) { output, count in
      first.withUnsafeBytes { input in
        var position = 0
        while position < input.count, count < output.count {
          let rest = UnsafeRawBufferPointer(rebasing: input[position...])
          let space = UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: output[count...]))
          // The bytes before the damage, or before the end of the input, are right.
          guard let step = try? decoder.step(rest, into: space), step != (0, 0) else { return }
          position += step.used
          count += step.written
        }
      }
    }
  }
}
