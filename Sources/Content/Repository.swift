package import OCI

/// Turns a tag or a digest into a descriptor.
package protocol Resolver: Sendable {
  /// Resolves a target.
  ///
  /// - Parameter target: a tag or a digest of a manifest.
  /// - Throws: `ContentError` with `notFound` where there is none.
  func resolve(_ target: Reference.Target) async throws(ContentError) -> Descriptor
}

/// Gives bytes of content.
package protocol BlobFetcher: Sendable {
  /// Fetches a range of a blob or manifest into a sink. The bytes are not verified here.
  ///
  /// Returns once every byte of the range was delivered, or the sink wanted no more. A source that cannot serve a
  /// range may deliver bytes outside of it as well; the sink is told where each piece lies.
  ///
  /// - Parameters:
  ///   - descriptor: of the content.
  ///   - range: bytes, within `0..<descriptor.size`.
  ///   - sink: takes the bytes; called on the source's own thread.
  /// - Throws: `ContentError`; what was delivered before stays delivered.
  func fetch(
    _ descriptor: Descriptor,
    range: Range<Int64>,
    into sink: any BlobSink
  ) async throws(ContentError)
}

/// Lists the tags of a repository.
package protocol TagLister: Sendable {
  /// Lists tags in lexical order, at most `limit`.
  ///
  /// - Parameter limit: of tags.
  /// - Throws: `ContentError` with `notFound` where there is no such repository.
  func tags(limit: Int) async throws(ContentError) -> [String]
}

/// Where artifacts are: a registry's repository, an oci-dir, an oci-archive, a read-only store.
package protocol Repository: Resolver, BlobFetcher, TagLister {
  /// The host or path that errors and attributes name.
  var origin: String { get }
  /// Who shares a connection's worth of bandwidth with it: the host.
  var link: String { get }
  /// Whether it gives ranges, as far as is known.
  var servesRanges: Bool { get }
  /// Whether it is certain that it gives ranges: before that a blob has one request, as two streams of a whole blob
  /// would bring it twice.
  var hasProvenRanges: Bool { get }
}

extension Repository {
  package var link: String { origin }
  package var servesRanges: Bool { true }
  package var hasProvenRanges: Bool { true }
}

/// Takes bytes of a blob as they come.
package protocol BlobSink: Sendable {
  /// Takes a piece.
  ///
  /// - Parameters:
  ///   - bytes: valid for the duration of the call.
  ///   - offset: of the first byte in the blob.
  /// - Returns: false to end the fetch.
  func receive(_ bytes: UnsafeRawBufferPointer, at offset: Int64) -> Bool

  /// Takes news of the transfer.
  ///
  /// - Parameter signal: what happened.
  func note(_ signal: TransferSignal)

  /// Whether the transfer may be halted while others from the same host are not; asked again and again.
  var canWait: Bool { get }

  /// Whether no connection that was used before may be used.
  var wantsNewConnection: Bool { get }

  /// Why bytes cannot be those of the blob, by what the name of a file in it promises.
  ///
  /// - Parameters:
  ///   - bytes: the first ones of a response.
  ///   - offset: of the first in the blob.
  /// - Returns: nil where nothing speaks against them.
  func doubt(ofFirst bytes: UnsafeRawBufferPointer, at offset: Int64) -> String?
}

extension BlobSink {
  package func note(_ signal: TransferSignal) {}
  package var canWait: Bool { false }
  package var wantsNewConnection: Bool { false }
  package func doubt(ofFirst bytes: UnsafeRawBufferPointer, at offset: Int64) -> String? { nil }
}

/// News of a transfer, for who decides how many there are.
package enum TransferSignal: Sendable, Equatable {
  /// The first byte of a response came, so long after the request was sent.
  case firstByte(Duration)
  /// The host says that it is asked too much (429, 503).
  case throttled
  /// The host answered a range with that range (206).
  case ranges
  /// The host answered a range with the whole blob (200).
  case noRanges
}
