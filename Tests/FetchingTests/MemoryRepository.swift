import Content
import Fetching
import Foundation
import OCI
import Synchronization
import TestSupport

/// A repository in memory that counts the bytes sent and can simulate faults.
final class MemoryRepository: Repository {
  enum Fault: Sendable {
    case error(ContentError.Code)
    /// Stops after this many bytes of a fetch.
    case cut(Int)
    /// Sends from the start, regardless of the requested range.
    case ignoresRanges
    /// Does not answer until it is cancelled.
    case stall
    /// Sends this many bytes of each fetch and then nothing until the fault is removed.
    case stallAfter(Int)
  }

  private struct State {
    var fault: Fault?
    var sent: [Int64: Int] = [:]
    var fetches: [Range<Int64>] = []
    /// Bytes that are sent wrong, with the remaining number of times.
    var wrong: [Int: Int] = [:]
  }

  let bytes: [UInt8]
  let shown: [UInt8]
  let origin: String
  private let state = Mutex(State())

  /// - Parameters:
  ///   - bytes: The bytes of the blob.
  ///   - sent: The bytes that are sent instead.
  ///   - origin: The name of the repository.
  init(_ bytes: [UInt8], sent: [UInt8]? = nil, origin: String = "memory") {
    self.origin = origin
    self.bytes = bytes
    shown = sent ?? bytes
  }

  var descriptor: Descriptor {
    Descriptor(mediaType: .empty, digest: Verification.digest(of: bytes), size: Int64(bytes.count))
  }

  var hasProvenRanges: Bool {
    state.withLock { state in
      if case .ignoresRanges? = state.fault { return false }
      return true
    }
  }

  var fetches: [Range<Int64>] { state.withLock { $0.fetches } }
  /// The highest number of times that a block was sent.
  var mostSent: Int { state.withLock { $0.sent.values.max() ?? 0 } }
  /// Number of blocks that were sent more than once.
  var resent: Int { state.withLock { $0.sent.values.count { $0 > 1 } } }
  var sentBytes: Int { state.withLock { $0.sent.values.reduce(0, +) * 65_536 } }

  /// Makes the next requests for a byte return a wrong value.
  func setWrong(_ offset: Int, times: Int) { state.withLock { $0.wrong[offset] = times } }

  func setFault(_ fault: Fault?) { state.withLock { $0.fault = fault } }

  func resolve(_ target: Reference.Target) async throws(ContentError) -> Descriptor { descriptor }
  func tags(limit: Int) async throws(ContentError) -> [String] { [] }

  func fetch(
    _ descriptor: Descriptor,
    range: Range<Int64>,
    into sink: any BlobSink
  ) async throws(ContentError) {
    let fault = state.withLock { state in
      state.fetches.append(range)
      return state.fault
    }
    var position = Int(range.lowerBound)
    var end = Int(range.upperBound)
    switch fault {
    case .error(let code)?: throw ContentError(code, "blob", host: origin, "told to")
    case .stall?:
      while !Task.isCancelled { try? await Task.sleep(for: .milliseconds(5)) }
      throw ContentError(.cancelled, "blob", "cancelled")
    case .stallAfter?: break
    case .cut(let count)?: end = min(end, position + count)
    case .ignoresRanges?: (position, end) = (0, bytes.count)
    case nil: break
    }
    while position < end {
      await Task.yield()
      let piece = position..<min(position + 65_536 - position % 65_536, end)
      state.withLock { $0.sent[Int64(position / 65_536), default: 0] += 1 }
      var part = Array(shown[piece])
      state.withLock { state in
        for (offset, times) in state.wrong where piece.contains(offset) && times > 0 {
          state.wrong[offset] = times - 1
          part[offset - piece.lowerBound] ^= 1
        }
      }
      let wantsMore = part.withUnsafeBytes { sink.receive($0, at: Int64(piece.lowerBound)) }
      guard wantsMore else { return }
      position = piece.upperBound
      if case .stallAfter(let count)? = fault, position >= Int(range.lowerBound) + count {
        while case .stallAfter? = state.withLock({ $0.fault }) {
          try? await Task.sleep(for: .milliseconds(5))
        }
      }
    }
    if case .cut? = fault { throw ContentError(.unreachable, "blob", host: origin, "cut") }
  }
}

extension LazyBlob {
  func bytes(_ range: Range<Int64>) async -> Result<[UInt8], ContentError> {
    await withCheckedContinuation { continuation in
      read(range, caller: nil, reply: ReadReply(responder: AnswerResponder(continuation), token: 0))
    }
  }

  func failure(_ range: Range<Int64>) async -> ContentError.Code? {
    if case .failure(let error) = await bytes(range) { error.code } else { nil }
  }
}
