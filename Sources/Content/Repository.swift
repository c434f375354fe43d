package import OCI

/// Resolves a tag or a digest to a descriptor.
package protocol Resolver: Sendable {
  /// Resolves a target.
  ///
  /// - Parameter target: A tag, or the digest of a manifest.
  /// - Throws: `ContentError`; of code `notFound` if the target does not exist.
  func resolve(_ target: Reference.Target) async throws(ContentError) -> Descriptor
}

/// Fetches bytes of content.
package protocol BlobFetcher: Sendable {
  /// Fetches a range of a blob or manifest into a sink, without verifying the bytes.
  ///
  /// Returns once every byte of the range was delivered, or the sink ended the fetch. A source that does not
  /// support ranges may deliver bytes outside of the range; the sink gets the offset of each piece.
  ///
  /// - Parameters:
  ///   - descriptor: The descriptor of the content.
  ///   - range: A byte range within `0..<descriptor.size`.
  ///   - sink: Receives the bytes; called on the source's own thread.
  /// - Throws: `ContentError`; bytes delivered before the error stay delivered.
  func fetch(
    _ descriptor: Descriptor,
    range: Range<Int64>,
    into sink: any BlobSink
  ) async throws(ContentError)
}

/// Lists the tags of a repository.
package protocol TagLister: Sendable {
  /// Lists tags in lexical order.
  ///
  /// - Parameter limit: The maximum number of tags.
  /// - Throws: `ContentError`; of code `notFound` if the repository does not exist.
  func tags(limit: Int) async throws(ContentError) -> [String]
}

/// A source of artifacts: a registry's repository, an oci-dir, an oci-archive, or a read-only store.
package protocol Repository: Resolver, BlobFetcher, TagLister {
  /// The host or path that is named in errors and attributes.
  var origin: String { get }
  /// The endpoint; repositories of the same endpoint share bandwidth and limits.
  var link: String { get }
  /// Whether the source serves ranges, as far as is known.
  var servesRanges: Bool { get }
  /// Whether the source has served a range; before that a blob has only one request, as two streams of the
  /// complete blob would fetch it twice.
  var hasProvenRanges: Bool { get }
}

extension Repository {
  package var link: String { origin }
  package var servesRanges: Bool { true }
  package var hasProvenRanges: Bool { true }
}

/// Receives bytes of a blob as they arrive.
package protocol BlobSink: Sendable {
  /// Receives a piece.
  ///
  /// - Parameters:
  ///   - bytes: Valid for the duration of the call.
  ///   - offset: The offset of the first byte in the blob.
  /// - Returns: False to end the fetch.
  func receive(_ bytes: UnsafeRawBufferPointer, at offset: Int64) -> Bool

  /// Receives a signal of the transfer.
  func note(_ signal: TransferSignal)

  /// Whether the transfer may be paused in favor of others from the same host; checked repeatedly.
  var canWait: Bool { get }

  /// Whether the fetch must use a new connection.
  var wantsNewConnection: Bool { get }

  /// Returns why bytes cannot belong to the blob, given the format that the name of a file in it promises, or
  /// nil.
  ///
  /// - Parameters:
  ///   - bytes: The first bytes of a response.
  ///   - offset: The offset of the first byte in the blob.
  func doubt(ofFirst bytes: UnsafeRawBufferPointer, at offset: Int64) -> String?
}

extension BlobSink {
  package func note(_ signal: TransferSignal) {}
  package var canWait: Bool { false }
  package var wantsNewConnection: Bool { false }
  package func doubt(ofFirst bytes: UnsafeRawBufferPointer, at offset: Int64) -> String? { nil }
}

/// Signals of a transfer, with which the number of parallel transfers is controlled.
package enum TransferSignal: Sendable, Equatable {
  /// The first byte of a response arrived, with the time since the request was sent.
  case firstByte(Duration)
  /// The host limits requests (429, 503).
  case throttled
  /// The host answered a range request with the range (206).
  case ranges
  /// The host answered a range request with the complete blob (200).
  case noRanges
}
