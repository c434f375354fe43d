/// Takes the answers of reads.
///
/// One object serves all requests of a mount, so that a reply needs no allocation.
package protocol ReadResponder: AnyObject, Sendable {
  /// Answers with a range of a file.
  ///
  /// - Parameters:
  ///   - token: of the request.
  ///   - descriptor: of the file, open until the call returns.
  ///   - offset: in the file, bytes.
  ///   - count: bytes; all of them are there.
  ///   - keepsPages: false where the pages of the file are of no use once the reader has the bytes.
  func answer(_ token: UInt, file descriptor: Int32, offset: Int64, count: Int, keepsPages: Bool)

  /// Answers with bytes.
  ///
  /// - Parameters:
  ///   - token: of the request.
  ///   - bytes: valid for the duration of the call.
  func answer(_ token: UInt, bytes: UnsafeRawBufferPointer)

  /// Answers with an error.
  ///
  /// - Parameters:
  ///   - token: of the request.
  ///   - error: what happened.
  func answer(_ token: UInt, error: ContentError)
}

/// The right to answer one read, exactly once.
///
/// One that is dropped answers an error, so that a mistake is a failed read and not a process that
/// hangs.
package struct ReadReply: ~Copyable, Sendable {
  private let responder: any ReadResponder
  private let token: UInt
  // A noncopyable value with a class in it cannot be discarded, so its deinit asks.
  private var isAnswered = false

  /// Makes a reply.
  ///
  /// - Parameters:
  ///   - responder: takes the answer.
  ///   - token: of the request.
  package init(responder: any ReadResponder, token: UInt) {
    self.responder = responder
    self.token = token
  }

  deinit {
    guard !isAnswered else { return }
    responder.answer(token, error: ContentError(.disk, "", "a read was dropped without an answer"))
  }

  /// Answers with a range of a file.
  ///
  /// - Parameters:
  ///   - descriptor: of the file.
  ///   - offset: bytes.
  ///   - count: bytes.
  ///   - keepsPages: false where the pages of the file are of no use once the reader has the bytes.
  package consuming func file(_ descriptor: Int32, offset: Int64, count: Int, keepsPages: Bool = true) {
    isAnswered = true
    responder.answer(token, file: descriptor, offset: offset, count: count, keepsPages: keepsPages)
  }

  /// Answers with bytes.
  ///
  /// - Parameter bytes: all of the answer.
  package consuming func bytes(_ bytes: UnsafeRawBufferPointer) {
    isAnswered = true
    responder.answer(token, bytes: bytes)
  }

  /// Answers with bytes that are kept until the call returns.
  ///
  /// - Parameter bytes: all of the answer.
  package consuming func bytes(_ bytes: [UInt8]) {
    isAnswered = true
    bytes.withUnsafeBytes { responder.answer(token, bytes: $0) }
  }

  /// Answers with an error.
  ///
  /// - Parameter error: what happened.
  package consuming func fail(_ error: ContentError) {
    isAnswered = true
    responder.answer(token, error: error)
  }
}
