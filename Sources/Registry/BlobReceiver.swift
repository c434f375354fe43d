import Content
import HTTP
import OCI
import Locking

/// Receives one response to a range request, and passes its bytes to the sink with their offsets.
///
/// A response that contradicts itself or the descriptor is refused before its first byte reaches the sink.
final class BlobReceiver: ResponseReceiver {
  struct Result: Sendable {
    var response: HTTPResponse?
    /// The end of the delivered prefix: every byte from the start of the wanted range to here.
    var reached: Int64
    var sinkIsDone = false
    /// The contradiction in the response; nil for none.
    var lie: String?
    /// The first bytes of a body that is not content, such as an error message.
    var excerpt: [UInt8] = []
    var received: Int64 = 0
  }

  private struct State {
    var result: Result
    var position: Int64 = 0
    var end: Int64 = 0
    var passes = false
    /// Whether the first bytes must be checked: the response may be an HTML page in place of the blob.
    var isDoubtful = false
    /// The media type of a response that declares itself as text; nil for others.
    var textType: String?
    var discarded = 0
    var continuation: CheckedContinuation<HTTPError?, Never>?
  }

  // The maximum number of bytes of an error body that are read so that the connection can be reused.
  private static let discardLimit = 64 << 10
  private static let excerptLimit = 1024

  private let wanted: Range<Int64>
  private let descriptor: Descriptor
  private let sink: any BlobSink
  private let start = ContinuousClock.now
  private let state: Mutex<State>

  var canWait: Bool { sink.canWait }

  init(wanted: Range<Int64>, descriptor: Descriptor, sink: any BlobSink) {
    self.wanted = wanted
    self.descriptor = descriptor
    self.sink = sink
    state = Mutex(State(result: Result(reached: wanted.lowerBound)))
  }

  var result: Result { state.withLock { $0.result } }

  func setContinuation(_ continuation: CheckedContinuation<HTTPError?, Never>) {
    state.withLock { $0.continuation = continuation }
  }

  func receive(_ response: HTTPResponse) -> Bool {
    if response.isSuccess { sink.note(.firstByte(ContinuousClock.now - start)) }
    if response.status == 206 { sink.note(.ranges) }
    if response.status == 200, wanted != 0..<descriptor.size { sink.note(.noRanges) }
    state.withLock { state in
      state.result.response = response
      guard response.isSuccess else { return }
      guard response.status == 200 || response.status == 206 else {
        state.result.lie = "status \(response.status) in place of 200 or 206"
        return
      }
      if let lie = contradiction(response) {
        state.result.lie = lie
        return
      }
      if response.status == 206, let (range, _) = response.contentRange {
        (state.position, state.end) = (range.lowerBound, range.upperBound)
      } else {
        (state.position, state.end) = (0, descriptor.size)
        state.textType = textType(response)
        state.isDoubtful = response.contentLength == nil || state.textType != nil
      }
      state.passes = true
    }
    return true
  }

  /// Returns the contradiction in the headers of a successful response, or nil if there is none.
  private func contradiction(_ response: HTTPResponse) -> String? {
    let type = response.header("content-type") ?? ""
    if let encoding = response.header("content-encoding")?.lowercased(), encoding != "identity",
      !encoding.isEmpty
    {
      return "Content-Encoding: \(ForeignText.excerpt(encoding.utf8)), though identity was asked for"
    }
    if type.lowercased().hasPrefix("multipart/") {
      return "Content-Type: \(ForeignText.excerpt(type.utf8)), though one range was asked for"
    }
    guard response.status == 206 else {
      guard let length = response.contentLength, length != descriptor.size else { return nil }
      return "Content-Length: \(length), the manifest says \(descriptor.size) bytes"
    }
    guard let (range, total) = response.contentRange else {
      return "status 206 without a Content-Range that can be read"
    }
    guard range.lowerBound == wanted.lowerBound, range.upperBound <= wanted.upperBound else {
      return "Content-Range: bytes \(range), requested \(wanted)"
    }
    if let total, total != descriptor.size {
      return "Content-Range: a blob of \(total) bytes, the manifest says \(descriptor.size)"
    }
    guard let length = response.contentLength, length != Int64(range.count) else { return nil }
    return "Content-Length: \(length) for the \(range.count) bytes of its Content-Range"
  }

  /// Returns the media type of a response declared as text for a blob that is not text, or nil for others.
  private func textType(_ response: HTTPResponse) -> String? {
    guard let type = response.header("content-type"), type.lowercased().hasPrefix("text/"),
      !descriptor.mediaType.rawValue.hasPrefix("text/")
    else { return nil }
    return ForeignText.excerpt(type.utf8, limit: 100)
  }

  func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let (offset, count): (Int64, Int) = state.withLock { state in
      state.result.received += Int64(bytes.count)
      if state.passes, state.isDoubtful {
        state.isDoubtful = false
        if let reason = doubt(bytes, at: state.position, textType: state.textType) {
          state.passes = false
          state.result.lie = reason
        }
      }
      guard state.passes else {
        let room = Self.excerptLimit - state.result.excerpt.count
        if room > 0 { state.result.excerpt += bytes.prefix(room) }
        state.discarded += bytes.count
        let isEnough = state.result.lie != nil && state.result.excerpt.count >= Self.excerptLimit
        return (-1, !isEnough && state.discarded <= Self.discardLimit ? 1 : 0)
      }
      let count = Int(min(Int64(bytes.count), state.end - state.position))
      defer { state.position += Int64(count) }
      return (state.position, count)
    }
    if offset < 0 { return count > 0 }
    if count < bytes.count {
      state.withLock { $0.result.lie = "more bytes than its headers say" }
    }
    guard count > 0 else { return false }
    // The sink writes to the disk: it is called without the lock.
    let wantsMore = sink.receive(UnsafeRawBufferPointer(rebasing: bytes[..<count]), at: offset)
    return state.withLock { state in
      let end = offset + Int64(count)
      if offset <= state.result.reached { state.result.reached = max(state.result.reached, end) }
      state.result.sinkIsDone = !wantsMore
      return wantsMore
    }
  }

  /// Returns the reason why the first bytes of a response of unknown length, or of a text type, are not the
  /// blob's, or nil.
  private func doubt(_ bytes: UnsafeRawBufferPointer, at offset: Int64, textType: String?) -> String? {
    let kind = textType.map { "Content-Type: \($0)" } ?? "a response of unknown length"
    if let reason = sink.doubt(ofFirst: bytes, at: offset) {
      return "\(kind), in place of the blob: \(reason)"
    }
    guard textType != nil else { return nil }
    let first = bytes.first { ![0x20, 0x09, 0x0a, 0x0d].contains($0) }
    return first == UInt8(ascii: "<") ? "\(kind): a page of HTML in place of the blob" : nil
  }

  func finish(_ error: HTTPError?) {
    let continuation = state.withLock { state in
      defer { state.continuation = nil }
      return state.continuation
    }
    continuation?.resume(returning: error)
  }
}
