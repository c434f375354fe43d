/// How far ahead of its readers a blob is fetched.
///
/// Pure.
///
/// Reads that follow each other form a stream; each stream has a window that doubles as it is used. A read far from
/// every stream fetches just what was asked for and starts a stream of its own, unless it is where something begins: the
/// blob, or a tensor that a header names.
///
/// A reader that jumps by the same distance after runs of the same length, as one rank of several does that reads its
/// part of each row, gets each further run at once and nothing behind it.
package struct ReadWindow: Sendable, Equatable {
  /// The window of a read at the start of something: 1 MiB and the 128 KiB of the kernel's own readahead, so that the
  /// first request covers what a reader of the header causes.
  package static let first: Int64 = (1 << 20) + (128 << 10)
  /// The largest window, where nothing is known of the link.
  package static let largest: Int64 = 32 << 20
  /// How far back a read may lie and still belong to a stream: readahead of several threads arrives out of order.
  package static let backward: Int64 = 1 << 20
  /// How far a read may lie from one that has no window yet and still belong to it; the kernel's readahead may begin so
  /// far before what a program reads.
  package static let slack: Int64 = 128 << 10

  /// What a read lies in.
  package struct Region: Sendable, Equatable {
    /// Bytes of the blob.
    package let range: Range<Int64>
    /// Who reads its start reads it all, and the kernel a little behind it: a header.
    package let isWhole: Bool

    /// A part of a blob that is read by itself.
    ///
    /// - Parameters:
    ///   - range: bytes of the blob.
    ///   - isWhole: who reads its start reads it all.
    package init(_ range: Range<Int64>, isWhole: Bool) {
      self.range = range
      self.isWhole = isWhole
    }
  }

  /// Runs of equal length at equal distances.
  private struct Stride: Sendable, Equatable {
    /// From the start of one run to the start of the next, bytes.
    let distance: Int64
    /// Of the run before, bytes.
    let length: Int64
    /// How often the next run began where it was expected.
    let count: Int
  }

  private struct Stream: Sendable, Equatable {
    /// Where it began.
    let start: Int64
    /// How it follows the stream before; nil for one that does not.
    var stride: Stride?
    /// The expected end of a run of a stride; nil where none is expected.
    var runEnd: Int64?
    /// Where the next read is expected.
    var next: Int64
    /// Bytes ahead of the reader.
    var size: Int64
    /// Up to where was asked for.
    var end: Int64
    /// What it reads now; nil where nothing is known of it.
    var region: Region?
    /// The first tensor or the like that it read.
    var origin: Range<Int64>?
    /// It read so far behind its origin that it is taken for a reader of everything.
    var readsOn = false
  }

  // Loaders read from a few threads; more streams than this are reads at random.
  private static let streamLimit = 32

  private let blobSize: Int64
  // The one used last stands last.
  private var streams: [Stream] = []

  /// A window over a blob.
  ///
  /// - Parameter blobSize: bytes.
  package init(blobSize: Int64) { self.blobSize = blobSize }

  /// How many streams have more than one read.
  package var streamCount: Int { streams.count { $0.size > 0 } }

  /// Takes a read and says what should be there or under way for it and its successors.
  ///
  /// - Parameters:
  ///   - read: bytes, not empty.
  ///   - region: what the read begins in; nil where nothing is known.
  ///   - end: what the read ends in.
  ///   - first: the window of a read at the start of the blob, bytes.
  ///   - limit: of a window, bytes.
  /// - Returns: begins with the read.
  package mutating func advance(
    _ read: Range<Int64>,
    in region: Region? = nil,
    endingIn end: Region? = nil,
    first: Int64 = ReadWindow.first,
    limit: Int64 = ReadWindow.largest
  ) -> Range<Int64> {
    let index = streams.lastIndex { stream in
      // One read is no stream yet: what is only near it is as likely another read at random.
      read.lowerBound >= stream.next - (stream.size > 0 ? Self.backward : Self.slack)
        && read.lowerBound <= stream.next + max(stream.size, Self.slack)
    }
    guard let index else {
      // Which of two it is meant for shows with the next read: the kernel's readahead begins before what is wanted at
      // the start of a tensor, and goes on behind it at the end.
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
    // The kernel's readahead goes a little way behind a run; a reader that goes further reads on.
    if let end = stream.runEnd, stream.next > end + Self.slack { stream.runEnd = nil }
    if let origin = stream.origin, stream.next >= origin.upperBound + Self.first { stream.readsOn = true }
    // Half of the window is left when the next part is asked for, so that requests overlap.
    // A header is asked for as far as it is known to go, and further when that was read: guesses get better.
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
    // Reads of one readahead may come in another order: what one of them leaves out is as good as asked for.
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
      // The run is asked for at once; a read behind it, by more than the kernel's readahead, is another run.
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

  /// The stride by which a read follows an earlier stream.
  ///
  /// A stream that the read continues by its stride ends with it. Otherwise the read may be the second run of the
  /// stream that was used last, which the run after it will show.
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

  /// Notes what a stream reads now; true while it is behind the first thing that it read, and not far.
  ///
  /// The kernel's readahead goes a little way into the next tensor by itself, so the window begins there anew.
  private func enter(_ region: Region?, _ stream: inout Stream) -> Bool {
    if stream.region != region {
      let wasHeader = stream.region?.isWhole ?? false
      let isHeader = region?.isWhole ?? false
      // What is known of a header grows while it is read.
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
