import Artifacts
import Content
import FileSystem
import OCI
import Synchronization

/// Registries in memory that count their requests.
final class MemoryRegistries: RepositoryProvider {
  struct State {
    var documents: [Digest: (bytes: [UInt8], type: MediaType)] = [:]
    var blobs: [Digest: [UInt8]] = [:]
    var tags: [RepositoryName: [String: Descriptor]] = [:]
    var requests: [String] = []
    /// The error for unknown names.
    var unknown = ContentError.Code.notFound
    /// The error for every request.
    var failure: ContentError.Code?
    /// The error for manifests by digest.
    var manifestFailure: ContentError.Code?
    /// Requests with this prefix wait until they are released.
    var holding: String?
    var held: [CheckedContinuation<Void, Never>] = []
  }

  let state = Mutex(State())

  var requests: [String] { state.withLock { $0.requests } }
  func forget() { state.withLock { $0.requests = [] } }

  func add(_ reference: String, files: [String: [UInt8]]) throws {
    let reference = try Reference(parsing: reference)
    let layers = files.sorted { $0.key < $1.key }.map { name, bytes in
      let digest = Verification.digest(of: bytes)
      state.withLock { $0.blobs[digest] = bytes }
      return Descriptor(
        mediaType: MediaType(rawValue: "a/b"),
        digest: digest,
        size: Int64(bytes.count),
        annotations: ["org.opencontainers.image.title": name]
      )
    }
    let bytes = try JSONDocument.encode(
      Manifest(artifactType: MediaType(rawValue: "a/b"), config: nil, layers: layers)
    )
    let digest = Verification.digest(of: bytes)
    let descriptor = Descriptor(mediaType: .imageManifest, digest: digest, size: Int64(bytes.count))
    state.withLock { state in
      state.documents[digest] = (bytes, .imageManifest)
      state.tags[reference.repository, default: [:]][reference.tag ?? ""] = descriptor
    }
  }

  func repository(_ name: RepositoryName) -> any Repository { MemoryRepository(registries: self, name: name) }

  func catalog(of registry: String, limit: Int) async throws(ContentError) -> [String] {
    try await ask("catalog \(registry)")
    return state.withLock { $0.tags.keys.filter { $0.registry == registry }.map(\.path).sorted() }
  }

  /// Makes requests with a prefix wait from now on.
  func hold(_ prefix: String) { state.withLock { $0.holding = prefix } }

  /// Releases the waiting requests, and stops holding further ones.
  func release() {
    let held = state.withLock { state in
      defer { (state.holding, state.held) = (nil, []) }
      return state.held
    }
    for continuation in held { continuation.resume() }
  }

  private func waitForRelease(_ request: String) async {
    await withCheckedContinuation { continuation in
      let isHeld = state.withLock { state in
        guard let prefix = state.holding, request.hasPrefix(prefix) else { return false }
        state.held.append(continuation)
        return true
      }
      if !isHeld { continuation.resume() }
    }
  }

  func ask(_ request: String) async throws(ContentError) {
    let failure = state.withLock { state in
      state.requests.append(request)
      return state.failure
    }
    await waitForRelease(request)
    if let failure { throw ContentError(failure, request, "told to") }
  }
}

struct MemoryRepository: Repository {
  let registries: MemoryRegistries
  let name: RepositoryName
  var origin: String { "\(name)" }

  func resolve(_ target: Reference.Target) async throws(ContentError) -> Descriptor {
    try await registries.ask("HEAD \(name) \(target)")
    let found: Descriptor? = registries.state.withLock { state in
      switch target {
      case .tag(let tag): return state.tags[name]?[tag]
      case .digest(let digest): return state.tags[name]?.values.first { $0.digest == digest }
      }
    }
    guard let found else {
      throw ContentError(registries.state.withLock { $0.unknown }, "\(name)", "unknown")
    }
    return found
  }

  func fetch(
    _ descriptor: Descriptor,
    range: Range<Int64>,
    into sink: any BlobSink
  ) async throws(ContentError) {
    try await registries.ask("GET \(name) \(descriptor.digest)")
    let failure = registries.state.withLock {
      $0.documents[descriptor.digest] == nil ? nil : $0.manifestFailure
    }
    if let failure { throw ContentError(failure, "\(descriptor.digest)", "told to") }
    let bytes = registries.state.withLock {
      $0.documents[descriptor.digest]?.bytes ?? $0.blobs[descriptor.digest]
    }
    guard let bytes else { throw ContentError(.notFound, "\(descriptor.digest)", "none") }
    _ = bytes.withUnsafeBytes { buffer in
      sink.receive(
        UnsafeRawBufferPointer(rebasing: buffer[Int(range.lowerBound)..<Int(range.upperBound)]),
        at: range.lowerBound
      )
    }
  }

  func tags(limit: Int) async throws(ContentError) -> [String] {
    try await registries.ask("TAGS \(name)")
    let found = registries.state.withLock { $0.tags[name]?.keys.sorted() }
    guard let found else {
      throw ContentError(registries.state.withLock { $0.unknown }, "\(name)", "unknown")
    }
    return Array(found.prefix(limit))
  }
}
