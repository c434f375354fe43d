/// How far ahead of its readers a blob is fetched.
///
/// Pure.
///
/// Reads that follow each other form a stream; each stream has a window that doubles as it is used. A read far from
/// every stream fetches just what was asked for and starts a stream of its own.
package struct ReadWindow: Sendable, Equatable {
  /// The window of a read at the start of a blob: 1 MiB and the 128 KiB of the kernel's own readahead, so that the
  /// first request covers what a reader of the header causes.
  package static let first: Int64 = (1 << 20) + (128 << 10)
  /// The largest window.
  package static let largest: Int64 = 32 << 20
  /// How far back a read may lie and still belong to a stream: readahead of several threads arrives out of order.
  package static let backward: Int64 = 1 << 20
  /// How far ahead a read may lie and still belong to a stream that has no window yet.
  package static let forward: Int64 = 1 << 20

  private struct Stream: Sendable, Equatable {
    /// Where the next read is expected.
    var next: Int64
    /// Bytes ahead of the reader.
    var size: Int64
    /// Up to where was asked for.
    var end: Int64
  }

  // Loaders read from a few threads; more streams than this are reads at random.
  private static let streamLimit = 16

  private let blobSize: Int64
  // The one used last stands last.
  private var streams: [Stream] = []

  /// A window over a blob.
  ///
  /// - Parameter blobSize: bytes.
  package init(blobSize: Int64) { self.blobSize = blobSize }

  /// Takes a read and says what should be there or under way for it and its successors.
  ///
  /// - Parameter read: bytes, not empty.
  /// - Returns: begins with the read.
  package mutating func advance(_ read: Range<Int64>) -> Range<Int64> {
    let index = streams.lastIndex { stream in
      read.lowerBound >= stream.next - Self.backward
        && read.lowerBound <= stream.next + max(stream.size, Self.forward)
    }
    guard let index else {
      let size = read.lowerBound == 0 ? Self.first : 0
      let end = min(blobSize, max(read.upperBound, read.lowerBound + size))
      streams.append(Stream(next: read.upperBound, size: size, end: end))
      if streams.count > Self.streamLimit { streams.removeFirst() }
      return read.lowerBound..<end
    }
    var stream = streams.remove(at: index)
    stream.next = max(stream.next, read.upperBound)
    // Half of the window is left when the next part is asked for, so that requests overlap.
    if stream.next + stream.size / 2 >= stream.end {
      stream.size = min(max(stream.size * 2, Self.first), Self.largest)
      stream.end = min(blobSize, stream.next + stream.size)
    }
    streams.append(stream)
    return read.lowerBound..<max(min(stream.end, blobSize), read.upperBound)
  }
}
