/// Computes the window of bytes to fetch ahead of each reader of a blob.
///
/// Pure.
///
/// Consecutive reads form a stream; each stream has a window that doubles as it is used. A read far from
/// every stream fetches only its own bytes and starts a new stream, unless it is at the start of the blob or
/// of a tensor that a header names.
///
/// A reader that jumps by equal distances after runs of equal length, such as one rank of several that reads
/// its part of each row, gets each further run at once and no bytes after it.
package struct ReadWindow: Sendable, Equatable {
  /// The window of a read at the start of a region: 1 MiB and the 128 KiB of the kernel's own readahead, so
  /// that the first request covers the reads of a header.
  package static let first: Int64 = (1 << 20) + (128 << 10)
  /// The largest window if the rate of the host is unknown.
  package static let largest: Int64 = 32 << 20
  /// How far back a read of a stream may be: readahead of several threads arrives out of order.
  package static let backward: Int64 = 1 << 20
  /// How far a read may be from a stream without a window and still belong to it; the kernel's readahead may
  /// start that far before a program's read.
  package static let slack: Int64 = 128 << 10

  /// A part of the blob that is read as a unit, such as a header or a tensor.
  package struct Region: Sendable, Equatable {
    /// The byte range in the blob.
    package let range: Range<Int64>
    /// Whether a reader of its start reads all of it, and the kernel slightly beyond: a header.
    package let isWhole: Bool

    /// Creates a region.
    ///
    /// - Parameters:
    ///   - range: The byte range in the blob.
    ///   - isWhole: Whether a reader of its start reads all of it.
    package init(_ range: Range<Int64>, isWhole: Bool) {
      self.range = range
      self.isWhole = isWhole
    }
  }

  /// Runs of equal length at equal distances.
  private struct Stride: Sendable, Equatable {
    /// The distance between the starts of two consecutive runs in bytes.
    let distance: Int64
    /// The length of the previous run in bytes.
    let length: Int64
    /// The number of runs that began at the expected offset.
    let count: Int
  }

  private struct Stream: Sendable, Equatable {
    /// The offset of its first read.
    let start: Int64
    /// The relation to the previous stream; nil if there is none.
    var stride: Stride?
    /// The expected end of a run of a stride; nil if none is expected.
    var runEnd: Int64?
    /// The expected offset of the next read.
    var next: Int64
    /// The size of the window in bytes.
    var size: Int64
    /// The end of the bytes requested so far.
    var end: Int64
    /// The region being read; nil if unknown.
    var region: Region?
    /// The range of the first tensor that it read.
    var origin: Range<Int64>?
    /// Whether it read so far beyond its origin that it counts as a sequential reader of the blob.
    var readsOn = false
  }

  // Loaders use few reading threads; more streams than this are random reads.
  private static let streamLimit = 32

  private let blobSize: Int64
  // The streams; the most recently used one is last.
  private var streams: [Stream] = []

  /// Creates a window over a blob.
  ///
  /// - Parameter blobSize: The size of the blob in bytes.
  package init(blobSize: Int64) { self.blobSize = blobSize }

  /// The number of streams with more than one read.
  package var streamCount: Int { streams.count { $0.size > 0 } }

  /// Records a read and returns the bytes that should be present or in flight for it and the reads after it.
  ///
  /// - Parameters:
  ///   - read: The byte range of the read, not empty.
  ///   - region: The region of the read's first byte; nil if unknown.
  ///   - end: The region of the read's last byte; nil if unknown.
  ///   - first: The window of a read at the start of the blob in bytes.
  ///   - limit: The maximum window in bytes.
  /// - Returns: A range that begins at or before the read.
  package mutating func advance(
    _ read: Range<Int64>,
    in region: Region? = nil,
    endingIn end: Region? = nil,
    first: Int64 = ReadWindow.first,
    limit: Int64 = ReadWindow.largest
  ) -> Range<Int64> {
    let index = streams.lastIndex { stream in
      // One read is not a stream yet: a nearby read is as likely another random read.
      read.lowerBound >= stream.next - (stream.size > 0 ? Self.backward : Self.slack)
        && read.lowerBound <= stream.next + max(stream.size, Self.slack)
    }
    guard let index else {
      // The next read shows which region is meant: the kernel's readahead begins before a tensor's start, and
      // continues after its end.
      return region == end ? begin(read, region, first) : begin(read, nil, 0)
    }
    var stream = streams.remove(at: index)
    let isUndecided = stream.region == nil && stream.size == 0
    if isUndecided, let region, read.lowerBound <= region.range.lowerBound + 2 * Self.slack {
      stream.size = first / 2
    }
    let hasCrossed = enter(region, &stream)
    let before = stream.next
    stream.next = max(stream.next, read.upperBound)
    // The kernel's readahead goes slightly beyond a run; a reader that goes further continues reading.
    if let end = stream.runEnd, stream.next > end + Self.slack { stream.runEnd = nil }
    if let origin = stream.origin, stream.next >= origin.upperBound + Self.first { stream.readsOn = true }
    // The next part is requested when half of the window is left, so that requests overlap. A header is
    // requested up to its estimated end, and further after that was read: estimates improve.
    let isHeader = region?.isWhole ?? false
    if stream.runEnd == nil,
      isHeader ? stream.next + Self.slack >= stream.end : stream.next + stream.size / 2 >= stream.end
    {
      let count = Int64(read.count)
      stream.size = max(stream.size * 2, hasCrossed ? 2 * count : first)
      stream.size = min(stream.size, max(limit, count))
      stream.end = max(stream.end, bound(stream, stream.next + stream.size))
      if let region, region.isWhole { stream.end = max(stream.end, region.range.upperBound + Self.slack) }
    }
    streams.append(stream)
    // Reads of one readahead may arrive out of order: gaps between them count as requested.
    let start = stream.size > 0 ? min(before, read.lowerBound) : read.lowerBound
    return start..<max(min(stream.end, blobSize), read.upperBound)
  }

  private mutating func begin(_ read: Range<Int64>, _ region: Region?, _ first: Int64) -> Range<Int64> {
    let isStart = region.map { read.lowerBound <= $0.range.lowerBound + Self.slack } ?? (read.lowerBound == 0)
    var stream = Stream(
      start: read.lowerBound,
      stride: takeStride(to: read.lowerBound),
      next: read.upperBound,
      size: isStart ? first : 0,
      end: 0
    )
    if let stride = stream.stride, stride.count > 0 {
      stream.runEnd = read.lowerBound + stride.length
      // The run is requested at once; a read after it, by more than the kernel's readahead, is another run.
      stream.size = Self.slack
    }
    _ = enter(region, &stream)
    let ahead = max(stream.size, stream.stride.map { $0.count > 0 ? $0.length : 0 } ?? 0)
    stream.end = max(read.upperBound, bound(stream, read.lowerBound + ahead))
    if let region, region.isWhole, isStart {
      stream.end = max(stream.end, region.range.upperBound + Self.slack)
    }
    stream.end = min(stream.end, blobSize)
    streams.append(stream)
    if streams.count > Self.streamLimit { streams.removeFirst() }
    return read.lowerBound..<max(stream.end, read.upperBound)
  }

  /// Returns the stride by which a read follows an earlier stream, or nil if there is none.
  ///
  /// A stream that the read continues by its stride is removed. Otherwise the read may be the second run of
  /// the most recently used stream; the third run decides.
  private mutating func takeStride(to start: Int64) -> Stride? {
    let index = streams.lastIndex { stream in
      guard let stride = stream.stride else { return false }
      return abs(stream.start + stride.distance - start) <= Self.slack
        && abs(stream.next - stream.start - stride.length) <= 2 * Self.slack
    }
    if let index, let stride = streams[index].stride {
      let length = min(stride.length, streams[index].next - streams[index].start)
      let distance = start - streams[index].start
      streams.remove(at: index)
      return Stride(distance: distance, length: length, count: stride.count + 1)
    }
    guard let last = streams.last, start > last.next else { return nil }
    return Stride(distance: start - last.start, length: last.next - last.start, count: 0)
  }

  /// Updates the region of a stream; returns whether the stream is in a region after its origin, and not far
  /// beyond.
  ///
  /// The kernel's readahead continues slightly into the next tensor, so the window starts again there.
  private func enter(_ region: Region?, _ stream: inout Stream) -> Bool {
    if stream.region != region {
      let wasHeader = stream.region?.isWhole ?? false
      let isHeader = region?.isWhole ?? false
      // The estimated range of a header grows while it is read.
      if wasHeader, !isHeader, stream.origin == nil { stream.origin = stream.region?.range }
      if stream.origin != nil, !stream.readsOn, !(wasHeader && isHeader) { stream.size = 0 }
      stream.region = region
      if let region, !region.isWhole, stream.origin == nil { stream.origin = region.range }
    }
    guard let origin = stream.origin, !stream.readsOn else { return false }
    return region?.range != origin
  }

  private func bound(_ stream: Stream, _ end: Int64) -> Int64 {
    if let run = stream.runEnd { return min(end, run, blobSize) }
    guard let region = stream.region, !stream.readsOn else { return min(end, blobSize) }
    return min(end, region.range.upperBound, blobSize)
  }
}
