/// One member of a tar, and where its bytes lie.
package struct TarMember: Sendable, Hashable {
  /// What it is.
  package enum Kind: Sendable, Hashable {
    case file
    case directory
    case symbolicLink(target: [UInt8])
    case hardLink(target: [UInt8])
    /// Devices, pipes and sockets.
    case other
  }

  /// The raw bytes of its name: not always UTF-8.
  package let name: [UInt8]
  package let kind: Kind
  /// Bytes after expansion; those of a sparse member are not all in the tar.
  package let size: Int64
  /// Of the first data byte in the tar.
  package let dataOffset: Int64
  /// Permission bits.
  package let mode: UInt32
  /// Seconds since 1970.
  package let modificationTime: Int64
  /// Holes are cut out of its data, so it is not one range.
  package let isSparse: Bool

  var nameBytes: Int {
    switch kind {
    case .symbolicLink(let target), .hardLink(let target): name.count + target.count
    case .file, .directory, .other: name.count
    }
  }

  /// Makes a member.
  ///
  /// - Parameters:
  ///   - name: raw bytes.
  ///   - kind: what it is.
  ///   - size: in bytes.
  ///   - dataOffset: in the tar.
  ///   - mode: permission bits.
  ///   - modificationTime: seconds since 1970.
  ///   - isSparse: whether holes are cut out.
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
