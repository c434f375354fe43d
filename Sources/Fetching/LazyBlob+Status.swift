import BlobCache
package import Content
package import Disk
import OCI
import Locking

/// The presence of the blob's bytes, and the use of the blob.
extension LazyBlob {
  /// The bytes that are present, and the level at which they are verified.
  package var status: BlobStatus {
    let whole = status(of: 0..<descriptor.size)
    // All bytes may be present before they are verified; such a blob is not complete.
    guard whole.presence == .complete, whole.verified != .blob, completeFile == nil else { return whole }
    return BlobStatus(presence: .partial, cachedBytes: whole.cachedBytes, verified: whole.verified)
  }

  /// Returns the bytes of a range that are present, and the level at which they are verified.
  ///
  /// - Parameter range: A byte range within the blob.
  package func status(of range: Range<Int64>) -> BlobStatus {
    state.withLock { state in
      switch state.blob.phase {
      case .complete(_, let trust):
        BlobStatus(
          presence: .complete,
          cachedBytes: Int64(range.count),
          verified: trust == .verified ? .blob : .no
        )
      case .partial(let content), .settling(let content):
        .partial(
          range.count == descriptor.size
            ? content.blob.presentBytes : content.blob.blocks.presentBytes(in: range),
          of: Int64(range.count),
          verified: state.blob.chunks == nil ? .no : .chunk
        )
      case .bad: BlobStatus(presence: .remote, cachedBytes: 0, verified: .no)
      }
    }
  }

  /// The complete file if it may be served; nil otherwise.
  package var completeFile: BlobFile? { state.withLock { $0.blob.servableFile } }

  /// The complete and verified file; nil if there is none.
  package var verifiedFile: BlobFile? { state.withLock { $0.blob.verifiedFile } }

  /// The reason why the blob is refused; nil if it is not.
  package var badness: ContentError? { state.withLock { $0.blob.badness } }

  /// Whether bytes may be served before all of them are verified.
  var mayServePartial: Bool { state.withLock { $0.blob.servesPartial } }

  /// The partial blob; nil once no bytes have to be fetched.
  var partial: PartialContent? { state.withLock { $0.blob.partial } }

  /// Whether no reply waits and no request is in flight.
  var isIdle: Bool { state.withLock { $0.blob.waiters.isEmpty && $0.demand.table.isIdle } }

  /// Notes whether the disk can hold the complete blob.
  func noteSpace(mayFill: Bool) { state.withLock { $0.demand.mayFill = mayFill } }

  /// Returns whether a reference is new to this object.
  func isFirstOpen(by reference: Reference) -> Bool { state.withLock { $0.use.open(by: reference) } }

  /// Returns whether a use must be noted on the disk; it then counts as noted.
  func isUseDue(at now: ContinuousClock.Instant) -> Bool { state.withLock { $0.use.isDue(at: now) } }

  // MARK: Words for errors

  /// Returns the subject of an error: the name of the file at an offset, if it is known, and the digest.
  func subject(at offset: Int64?) -> String {
    state.withLock { $0.demand.formats.name(at: offset) }.map { "\($0) (\(descriptor.digest))" }
      ?? "\(descriptor.digest)"
  }

  /// Returns the name of the file at an offset, for a log message.
  func fileName(at offset: Int64?) -> String { state.withLock { $0.demand.formats.name(at: offset) } ?? "-" }

  /// The origin of the source that is asked first.
  var origin: String? { state.withLock { $0.sources.first?.origin } }
}
