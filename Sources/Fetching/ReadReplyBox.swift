import BlobCache
import Content
import Locking

/// A reply that can be stored in a table.
final class ReadReplyBox: Sendable {
  private let reply: Mutex<ReadReply?>

  init(_ reply: consuming ReadReply) { self.reply = Mutex(reply) }

  func file(_ descriptor: Int32, offset: Int64, count: Int, keepsPages: Bool = true) {
    guard let reply = take() else { return }
    reply.file(descriptor, offset: offset, count: count, keepsPages: keepsPages)
  }

  /// Answers with bytes of a partial blob.
  func partial(_ blob: PartialBlob, _ range: Range<Int64>) {
    guard let reply = take() else { return }
    blob.answer(reply, range)
  }

  func bytes(_ bytes: [UInt8]) {
    guard let reply = take() else { return }
    reply.bytes(bytes)
  }

  func fail(_ error: ContentError) {
    guard let reply = take() else { return }
    reply.fail(error)
  }

  private func take() -> ReadReply? { reply.withLock { $0.take() } }
}
