/// Receives the answers of reads.
///
/// One object serves all requests of a mount, so that a reply needs no allocation.
package protocol ReadResponder: AnyObject, Sendable {
  /// Answers with a range of a file.
  ///
  /// - Parameters:
  ///   - token: The request.
  ///   - descriptor: The file, open until the call returns.
  ///   - offset: The offset in the file in bytes.
  ///   - count: The number of bytes, all of them present.
  ///   - keepsPages: False if the file's pages are useless once the reader has the bytes.
  func answer(_ token: UInt, file descriptor: Int32, offset: Int64, count: Int, keepsPages: Bool)

  /// Answers with bytes.
  ///
  /// - Parameters:
  ///   - token: The request.
  ///   - bytes: Valid for the duration of the call.
  func answer(_ token: UInt, bytes: UnsafeRawBufferPointer)

  /// Answers with an error.
  ///
  /// - Parameters:
  ///   - token: The request.
  ///   - error: The error.
  func answer(_ token: UInt, error: ContentError)
}

/// The obligation to answer one read exactly once.
///
/// A reply that is dropped answers with an error, so that a bug causes a failed read rather than a process
/// that hangs.
package struct ReadReply: ~Copyable, Sendable {
  private let responder: any ReadResponder
  private let token: UInt
  // A noncopyable value that holds a class cannot be discarded, so the deinit checks this flag.
  private var isAnswered = false

  /// Creates a reply.
  ///
  /// - Parameters:
  ///   - responder: Receives the answer.
  ///   - token: The request.
  package init(responder: any ReadResponder, token: UInt) {
    self.responder = responder
    self.token = token
  }

  deinit {
    guard !isAnswered else { return }
    responder.answer(token, error: ContentError(.disk, "", "weightfs dropped a read without answering it"))
  }

  /// Answers with a range of a file.
  ///
  /// - Parameters:
  ///   - descriptor: The file.
  ///   - offset: The offset in the file in bytes.
  ///   - count: The number of bytes.
  ///   - keepsPages: False if the file's pages are useless once the reader has the bytes.
  package consuming func file(_ descriptor: Int32, offset: Int64, count: Int, keepsPages: Bool = true) {
    isAnswered = true
    responder.answer(token, file: descriptor, offset: offset, count: count, keepsPages: keepsPages)
  }

  /// Answers with bytes.
  ///
  /// - Parameter bytes: The complete answer.
  package consuming func bytes(_ bytes: UnsafeRawBufferPointer) {
    isAnswered = true
    responder.answer(token, bytes: bytes)
  }

  /// Answers with bytes of an array.
  ///
  /// - Parameter bytes: The complete answer.
  package consuming func bytes(_ bytes: [UInt8]) {
    isAnswered = true
    bytes.withUnsafeBytes { responder.answer(token, bytes: $0) }
  }

  /// Answers with an error.
  package consuming func fail(_ error: ContentError) {
    isAnswered = true
    responder.answer(token, error: error)
  }
}
