/// One member of a tar, and the location of its data.
package struct TarMember: Sendable, Hashable {
  /// The type of a member.
  package enum Kind: Sendable, Hashable {
    case file
    case directory
    case symbolicLink(target: [UInt8])
    case hardLink(target: [UInt8])
    /// Devices, pipes and sockets.
    case other
  }

  /// The raw bytes of the name, not always UTF-8.
  package let name: [UInt8]
  package let kind: Kind
  /// Size after expansion in bytes; the data of a sparse member is shorter.
  package let size: Int64
  /// Offset of the first data byte in the tar.
  package let dataOffset: Int64
  /// Permission bits.
  package let mode: UInt32
  /// Seconds since 1970.
  package let modificationTime: Int64
  /// Whether holes were removed from the data, so that the file is not one range.
  package let isSparse: Bool

  var nameBytes: Int {
    switch kind {
    case .symbolicLink(let target), .hardLink(let target): name.count + target.count
    case .file, .directory, .other: name.count
    }
  }

  /// Creates a member.
  ///
  /// - Parameters:
  ///   - name: The raw bytes of the name.
  ///   - kind: The type.
  ///   - size: The size in bytes.
  ///   - dataOffset: The offset in the tar.
  ///   - mode: The permission bits.
  ///   - modificationTime: Seconds since 1970.
  ///   - isSparse: Whether holes were removed.
  package init(
    name: [UInt8],
    kind: Kind,
    size: Int64,
    dataOffset: Int64,
    mode: UInt32 = 0o644,
    modificationTime: Int64 = 0,
    isSparse: Bool = false
  ) {
    self.name = name
    self.kind = kind
    self.size = size
    self.dataOffset = dataOffset
    self.mode = mode
    self.modificationTime = modificationTime
    self.isSparse = isSparse
  }
}
