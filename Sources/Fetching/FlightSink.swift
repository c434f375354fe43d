import BlobCache
import Content
import LocalRegistry
import OCI
import SystemPackage

/// Receives the bytes of one flight.
struct FlightSink: BlobSink {
  let blob: LazyBlob
  let partial: PartialBlob
  let flight: UInt64
  let ingest: BlobIngest
  let control: FlightControl
  let link: String

  var canWait: Bool { control.purpose.canWait }
  var wantsNewConnection: Bool { control.wantsNewConnection }

  func note(_ signal: TransferSignal) {
    switch signal {
    case .firstByte(let time): blob.store.scheduler.firstByte(after: time, from: link)
    case .throttled: blob.store.scheduler.throttled(link)
    case .ranges: blob.store.scheduler.prove(link)
    case .noRanges: blob.store.scheduler.disprove(link)
    }
  }

  func doubt(ofFirst bytes: UnsafeRawBufferPointer, at offset: Int64) -> String? {
    blob.doubt(ofFirst: bytes, at: offset)
  }

  func receive(_ bytes: UnsafeRawBufferPointer, at offset: Int64) -> Bool {
    var count = bytes.count
    switch control.judge(offset, bytes.count) {
    case .take(let some): count = some
    case .widen: blob.widen(flight, control, ingest, partial)
    }
    blob.noteProgress()
    blob.store.scheduler.received(bytes.count, from: link)
    let distance = blob.store.scheduler.limit(of: link).endDistance
    if distance > 0, control.comesToEnd(within: distance) { blob.store.scheduler.release(flight) }
    do throws(ContentError) {
      let taken = UnsafeRawBufferPointer(rebasing: bytes[..<count])
      let arrival = try ingest.accept(taken, at: offset)
      // The reader of a small request waits for a part of it: it is answered before bytes are written.
      if arrival.isReadable || control.isSmall { blob.handle(.arrived) }
      for run in arrival.kept { blob.arrived(run) }
      let range = offset..<offset + Int64(count)
      if control.isAtEnd || (arrival.isReadable && arrival.kept.isEmpty && blob.needsOnDisk(range)) {
        try blob.flush(ingest)
      }
    } catch {
      control.fail(error)
      return false
    }
    return goesOn(count == bytes.count)
  }

  /// Returns whether more of the response is wanted.
  private func goesOn(_ isTaken: Bool) -> Bool {
    // The request was cut or is complete: the remaining bytes of the response are not used.
    if !isTaken { return false }
    guard control.isWidened, !blob.wantsMore(partial) else { return true }
    control.decline()
    return false
  }
}
