import Content
import HTTP
import Logging
import OCI
import Registry
import Synchronization
import Telemetry
import TestSupport
import Testing

/// Accepts bytes at any offset, and counts them.
final class CollectingSink: BlobSink {
  private struct State {
    var bytes: [UInt8]
    var filled = 0
    var signals: [TransferSignal] = []
  }

  private let state: Mutex<State>

  init(size: Int) { state = Mutex(State(bytes: [UInt8](repeating: 0, count: size))) }

  func receive(_ bytes: UnsafeRawBufferPointer, at offset: Int64) -> Bool {
    state.withLock { state in
      state.bytes.replaceSubrange(Int(offset)..<Int(offset) + bytes.count, with: bytes)
      state.filled += bytes.count
    }
    return true
  }

  func note(_ signal: TransferSignal) { state.withLock { $0.signals.append(signal) } }

  var bytes: [UInt8] { state.withLock { $0.bytes } }
  var received: Int { state.withLock { $0.filled } }
  var signals: [TransferSignal] { state.withLock { $0.signals } }
}

/// A registry for one test, a client of it, and the client's log.
struct RegistryFixture {
  let registry: FaultyRegistry
  let messages = CollectedMessages()
  let thread = TransferThread(metrics: Metrics(), environment: [:])
  let blob = SeededGenerator.bytes(300_000, seed: 11)
  let folder: TemporaryFolder

  init() throws {
    registry = try FaultyRegistry()
    folder = try TemporaryFolder()
  }

  var log: Logger {
    let messages = messages
    return Logger(label: "test") { _ in CollectingLog(messages: messages) }
  }

  func repository(
    _ path: String = "acme/x",
    auth: String? = nil,
    _ configure: (inout RegistryConfiguration) -> Void = { _ in }
  ) throws -> RegistryRepository {
    var configuration = RegistryConfiguration()
    configuration.retry.firstDelay = .milliseconds(5)
    configuration.retry.retryFor = .seconds(2)
    configure(&configuration)
    let client = RegistryClient(
      thread: thread,
      credentials: CredentialFiles(explicit: auth ?? "/none", environment: [:], log: log),
      configuration: configuration,
      log: log
    )
    return client.repository(try #require(RepositoryName(registry: registry.host, path: path)))
  }

  /// Returns a file with a password for the registry.
  func authFile(_ pair: String = "dTpw") throws -> String {
    try folder.write(Array(#"{"auths":{"\#(registry.host)":{"auth":"\#(pair)"}}}"#.utf8), to: "auth.json")
  }

  @discardableResult
  func fetch(_ range: Range<Int64>, _ repository: RegistryRepository) async throws -> CollectingSink {
    let descriptor = registry.add(blob: blob)
    let sink = CollectingSink(size: blob.count)
    try await repository.fetch(descriptor, range: range, into: sink)
    return sink
  }

  func failure(_ body: () async throws -> Void) async -> ContentError? {
    do {
      try await body()
      return nil
    } catch {
      return error as? ContentError
    }
  }

  /// Starts a storage server that has the blob; a rule may replace the answer.
  func storage(
    _ rule: @escaping @Sendable (HTTPServer.Request) -> HTTPServer.Answer? = { _ in nil }
  ) throws
    -> HTTPServer
  {
    let bytes = blob
    return try HTTPServer { request in
      if let answer = rule(request) { return answer }
      guard let range = request.range(size: bytes.count) else { return .init(200, body: bytes) }
      let name = "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(bytes.count)"
      return .init(206, headers: [("Content-Range", name)], body: Array(bytes[range]))
    }
  }

  /// Redirects every blob to another server.
  func redirectBlobs(to port: Int) {
    registry.setFault { request, number in
      guard request.path.contains("/blobs/") else { return nil }
      return .init(307, headers: [("Location", "http://127.0.0.1:\(port)/b?sig=\(number)")])
    }
  }
}
