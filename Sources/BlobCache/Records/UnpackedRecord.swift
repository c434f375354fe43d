package import Content
package import Disk
package import OCI
import SystemPackage

/// Records what a compressed layer contains: the digest and size of the decompressed bytes, which are a blob of
/// their own, and the positions from which parts of it can be decompressed again
/// (docs/local-registry.md, "Decompressed layers").
///
/// Kept when the decompressed blob is evicted.
package struct UnpackedRecord: Sendable, Codable, Equatable {
  /// A position in the compressed layer.
  package struct Position: Sendable, Codable, Equatable {
    /// The start of the layer, which needs no record.
    fileprivate static let start = Position(input: -1, output: -1, bits: 0, byte: 0, window: 0, bytes: [])

    fileprivate static func sum(of bytes: [UInt8]) -> String {
      String(Verification.digest(of: bytes).hex.prefix(16))
    }

    /// The offset of the next compressed byte.
    package let input: Int64
    /// The offset of the next decompressed byte.
    package let output: Int64
    /// The number of bits of the byte before `input` that are not decompressed yet.
    package let bits: UInt8
    /// The byte before `input`.
    package let byte: UInt8
    /// The range of the preceding decompressed bytes in the file of windows.
    package let window: Int64
    package let windowSize: Int
    /// The first digits of the SHA-256 of the window.
    package let windowSum: String

    /// Creates a position.
    ///
    /// - Parameters:
    ///   - input: The offset of the next compressed byte.
    ///   - output: The offset of the next decompressed byte.
    ///   - bits: The number of bits of the byte before `input`, 0 to 7.
    ///   - byte: The byte before `input`.
    ///   - window: The offset of the window in the file of windows.
    ///   - bytes: The bytes of the window.
    package init(input: Int64, output: Int64, bits: UInt8, byte: UInt8, window: Int64, bytes: [UInt8]) {
      self.input = input
      self.output = output
      self.bits = bits
      self.byte = byte
      self.window = window
      windowSize = bytes.count
      windowSum = Self.sum(of: bytes)
    }
  }

  /// The digest of the compressed layer.
  package let layer: Digest
  /// The name of the compression.
  package let compression: String
  /// The digest of the decompressed bytes.
  package let digest: Digest
  /// The number of decompressed bytes.
  package let size: Int64
  package let positions: [Position]

  /// Creates a record.
  ///
  /// - Parameters:
  ///   - layer: The digest of the compressed layer.
  ///   - compression: The name of the compression.
  ///   - digest: The digest of the decompressed bytes.
  ///   - size: The number of decompressed bytes.
  ///   - positions: The positions, in ascending order.
  package init(
    layer: Digest,
    compression: String,
    digest: Digest,
    size: Int64,
    positions: [Position]
  ) {
    self.layer = layer
    self.compression = compression
    self.digest = digest
    self.size = size
    self.positions = positions
  }

  /// The descriptor of the decompressed bytes.
  package var descriptor: Descriptor {
    Descriptor(mediaType: MediaType(rawValue: "application/octet-stream"), digest: digest, size: size)
  }

  // A layer of 1 TiB has 65,536 positions of about 100 bytes.
  private static let limit = 32 << 20
  // The most that a window may have: zlib refers to the last 32 KiB.
  private static let windowLimit = 32 << 10

  private static func path(_ root: RegistryRoot, _ layer: Digest) -> FilePath {
    root.unpacked.appending("\(layer.algorithm)-\(layer.hex).json")
  }

  private static func windows(_ root: RegistryRoot, _ layer: Digest) -> FilePath {
    root.unpacked.appending("\(layer.algorithm)-\(layer.hex).windows")
  }

  private static func mark(_ root: RegistryRoot, _ blob: Digest) -> FilePath {
    root.unpacked.appending("\(blob.algorithm)-\(blob.hex).from")
  }

  /// Whether a blob was decompressed from a layer, so that it can be decompressed again.
  package static func isUnpacked(_ blob: Digest, _ root: RegistryRoot) -> Bool {
    Disk.exists(mark(root, blob))
  }

  /// Returns the record of a layer, or nil if there is no usable one.
  package static func read(_ root: RegistryRoot, _ layer: Digest) -> UnpackedRecord? {
    // Without a record the layer is decompressed again.
    guard let bytes = try? Disk.contents(of: path(root, layer), limit: limit),
      let record = try? JSONDocument.decode(UnpackedRecord.self, from: bytes), record.layer == layer,
      record.isPlausible
    else { return nil }
    return record
  }

  /// Whether the positions are in order and within the content: another program may have written the file.
  private var isPlausible: Bool {
    var last = Position.start
    for position in positions {
      guard position.input > last.input, position.output > last.output, position.output <= size,
        position.bits < 8, position.window >= 0, (0...Self.windowLimit).contains(position.windowSize)
      else { return false }
      last = position
    }
    return size >= 0
  }

  /// Returns the decompressed bytes before a position, or nil if they cannot be read.
  package func window(of position: Position, _ root: RegistryRoot) -> [UInt8]? {
    guard position.windowSize > 0 else { return [] }
    guard let file = try? Disk.open(Self.windows(root, layer), .readOnly, options: [.closeOnExec, .noFollow])
    else { return nil }
    defer { Disk.close(file) }
    var bytes = [UInt8](repeating: 0, count: position.windowSize)
    let count = bytes.withUnsafeMutableBytes { try? Disk.read(file, into: $0, at: position.window) }
    return count == bytes.count && Position.sum(of: bytes) == position.windowSum ? bytes : nil
  }

  /// Writes the record.
  ///
  /// - Parameters:
  ///   - root: The local registry.
  ///   - windows: The windows of all positions, concatenated.
  /// - Throws: `ContentError`.
  package func write(_ root: RegistryRoot, windows: inout TemporaryFile) throws(ContentError) {
    let bytes: [UInt8]
    do {
      bytes = try JSONDocument.encode(self)
    } catch {
      throw ContentError(.invalid, "\(layer)", "the record of a decompressed layer cannot be written")
    }
    let permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead]
    try root.replace(Self.mark(root, digest), with: Array("\(layer)\n".utf8), permissions: permissions)
    do throws(Errno) {
      try windows.rename(to: Self.windows(root, layer))
    } catch {
      throw ContentError(.disk, "\(root.unpacked)", error)
    }
    // The record comes last: it never names windows that are not there.
    try root.replace(Self.path(root, layer), with: bytes, permissions: permissions)
  }

  /// Removes the record that a blob was made by, if it was decompressed from a layer.
  package static func remove(_ root: RegistryRoot, ofContent blob: Digest) {
    // A mark that cannot be read belongs to no record that is known.
    guard let text = (try? Disk.contents(of: mark(root, blob), limit: 256)) ?? nil,
      let layer = Digest(String(decoding: text, as: UTF8.self).filter { $0 != "\n" })
    else { return }
    remove(root, layer)
  }

  /// Removes the record of a layer that turned out wrong.
  package static func remove(_ root: RegistryRoot, _ layer: Digest) {
    // A record that stays is overwritten when the layer is decompressed again.
    try? Disk.remove(path(root, layer))
    try? Disk.remove(windows(root, layer))
  }
}
