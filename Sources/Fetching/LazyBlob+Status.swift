import BlobCache
package import Content
package import Disk
import OCI
import Locking

/// What is present of the blob, and how it is used.
extension LazyBlob {
  /// The bytes that are present, and how far they are verified.
  package var status: BlobStatus {
    let whole = status(of: 0..<descriptor.size)
    // All bytes may be present and not be verified yet: that is not complete.
    guard whole.presence == .complete, whole.verified != .blob, completeFile == nil else { return whole }
    return BlobStatus(presence: .partial, cachedBytes: whole.cachedBytes, verified: whole.verified)
  }

  /// The bytes of a range that are present, and how far they are verified.
  ///
  /// - Parameter range: bytes within the blob.
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

  /// The complete file, if there is one that may be served.
  package var completeFile: BlobFile? { state.withLock { $0.blob.servableFile } }

  /// The complete and verified file, if there is one.
  package var verifiedFile: BlobFile? { state.withLock { $0.blob.verifiedFile } }

  /// The reason why the blob is refused, if it is.
  package var badness: ContentError? { state.withLock { $0.blob.badness } }

  /// Whether bytes may be served before all of them are verified.
  var mayServePartial: Bool { state.withLock { $0.blob.servesPartial } }

  /// The partial blob, while bytes may have to be fetched.
  var partial: PartialContent? { state.withLock { $0.blob.partial } }

  /// Whether no reply waits and no request is under way.
  var isIdle: Bool { state.withLock { $0.blob.waiters.isEmpty && $0.demand.table.isIdle } }

  /// Notes whether the disk can hold all of the blob.
  func noteSpace(mayFill: Bool) { state.withLock { $0.demand.mayFill = mayFill } }

  /// Whether a reference is new to this object.
  func isFirstOpen(by reference: Reference) -> Bool { state.withLock { $0.use.open(by: reference) } }

  /// Whether a use is to be noted on the disk; it counts as noted then.
  func isUseDue(at now: ContinuousClock.Instant) -> Bool { state.withLock { $0.use.isDue(at: now) } }

  // MARK: Words for errors

  /// A part of the blob for its reader: the name of the file, where one is known, and the digest.
  func subject(at offset: Int64?) -> String {
    state.withLock { $0.demand.formats.name(at: offset) }.map { "\($0) (\(descriptor.digest))" }
      ?? "\(descriptor.digest)"
  }

  /// The name of the file at an offset, for a log.
  func fileName(at offset: Int64?) -> String { state.withLock { $0.demand.formats.name(at: offset) } ?? "-" }

  /// The source that is asked first.
  var origin: String? { state.withLock { $0.sources.first?.origin } }
}
