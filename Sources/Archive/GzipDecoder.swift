import CZlib

/// Decompresses gzip, member by member.
///
/// Bytes after the last member are ignored, as by gzip(1).
final class GzipDecoder: Decoder {
  private enum Place {
    /// In a member, or before its header.
    case member
    /// In a member whose header was before the checkpoint: the trailer is not read by zlib.
    case rawMember
    /// In a trailer, with the number of its bytes that are left.
    case trailer(Int)
    /// After a member: the first two bytes decide whether another one follows.
    case between
    case end
  }

  private var stream = z_stream()
  private var place: Place
  private var isAtBlock = false

  // zlib: 15 is the largest window; 16 more read a gzip header, a negative number reads none.
  private static let gzipWindow: Int32 = 15 + 16
  private static let rawWindow: Int32 = -15
  private static let windowSize = 32 << 10
  private static let trailerSize = 8
  private static let magic: [UInt8] = [0x1f, 0x8b]

  /// Creates a decoder.
  ///
  /// - Parameter checkpoint: The position to start from; nil for the start of the stream.
  /// - Throws: `ArchiveError` if there is no memory, or the checkpoint is damaged.
  init(from checkpoint: Checkpoint? = nil) throws(ArchiveError) {
    let isRaw = checkpoint.map { !$0.window.isEmpty || $0.bits > 0 } ?? false
    place = isRaw ? .rawMember : checkpoint == nil ? .member : .between
    guard czlib_inflate_init(&stream, isRaw ? Self.rawWindow : Self.gzipWindow) == Z_OK else {
      throw ArchiveError(reason: "out of memory")
    }
    guard isRaw, let checkpoint else { return }
    var isValid = checkpoint.bits < 8
    if checkpoint.bits > 0, isValid {
      let value = Int32(checkpoint.byte >> (8 - checkpoint.bits))
      isValid = inflatePrime(&stream, Int32(checkpoint.bits), value) == Z_OK
    }
    if !checkpoint.window.isEmpty, isValid {
      isValid =
        inflateSetDictionary(&stream, checkpoint.window, UInt32(checkpoint.window.count)) == Z_OK
    }
    guard isValid else { throw ArchiveError(reason: "the recorded position in the gzip is not usable") }
  }

  deinit { inflateEnd(&stream) }

  var mayEnd: Bool {
    switch place {
    case .between, .end: true
    case .member, .rawMember, .trailer: false
    }
  }

  var hasEnded: Bool { if case .end = place { true } else { false } }

  func step(
    _ input: UnsafeRawBufferPointer,
    into output: UnsafeMutableRawBufferPointer
  ) throws(ArchiveError) -> (used: Int, written: Int) {
    isAtBlock = false
    switch place {
    case .end: return (0, 0)
    case .trailer(let left):
      let used = min(left, input.count)
      place = used == left ? .between : .trailer(left - used)
      return (used, 0)
    case .between:
      guard input.count >= 2 else { return (0, 0) }
      guard input.starts(with: Self.magic) else {
        place = .end
        return (0, 0)
      }
      guard inflateReset2(&stream, Self.gzipWindow) == Z_OK else {
        throw ArchiveError(reason: "the gzip cannot be read")
      }
      place = .member
      return try inflate(input, into: output)
    case .member, .rawMember:
      let done = try inflate(input, into: output)
      // At the end of a member zlib may use no byte: the bytes at hand are those of the trailer.
      if case .trailer = place, done == (0, 0) { return try step(input, into: output) }
      return done
    }
  }

  private func inflate(
    _ input: UnsafeRawBufferPointer,
    into output: UnsafeMutableRawBufferPointer
  ) throws(ArchiveError) -> (used: Int, written: Int) {
    let (given, space) = (min(input.count, 1 << 30), min(output.count, 1 << 30))
    // zlib does not write to its input, although its type allows it.
    stream.next_in = UnsafeMutablePointer(
      mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self)
    )
    stream.avail_in = UInt32(given)
    stream.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
    stream.avail_out = UInt32(space)
    let result = CZlib.inflate(&stream, Z_BLOCK)
    let used = given - Int(stream.avail_in)
    let written = space - Int(stream.avail_out)
    switch result {
    case Z_OK, Z_BUF_ERROR:
      // Bit 7 of the type: a block has ended; bit 6: it was the last one of its member.
      isAtBlock = stream.data_type & 0xc0 == 0x80
    case Z_STREAM_END:
      if case .rawMember = place { place = .trailer(Self.trailerSize) } else { place = .between }
    default:
      let reason = stream.msg.map { String(cString: $0) } ?? "error \(result)"
      throw ArchiveError(reason: "the gzip is damaged: \(reason)")
    }
    return (used, written)
  }

  func checkpoint(input: Int64, output: Int64, last: UInt8) -> Checkpoint? {
    if case .between = place { return Checkpoint(input: input, output: output) }
    guard isAtBlock else { return nil }
    var count: UInt32 = 0
    let window = [UInt8](unsafeUninitializedCapacity: Self.windowSize) { buffer, filled in
      guard inflateGetDictionary(&stream, buffer.baseAddress, &count) == Z_OK else { return }
      filled = Int(count)
    }
    let bits = UInt8(stream.data_type & 7)
    // Before the first byte of a member its header is still to be read.
    guard !window.isEmpty else { return nil }
    return Checkpoint(input: input, output: output, bits: bits, byte: last, window: window)
  }
}
