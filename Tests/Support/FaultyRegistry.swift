import Content
import Foundation
package import OCI
import Synchronization

/// A registry for one test, whose answers can be replaced with faults.
package final class FaultyRegistry: Sendable {
  private struct State {
    var manifests: [String: (bytes: [UInt8], type: String)] = [:]
    var blobs: [String: [UInt8]] = [:]
    var tags: [String: [String]] = [:]
    var fault: (@Sendable (HTTPServer.Request, Int) -> HTTPServer.Answer?)?
    var count = 0
  }

  private final class Box: Sendable {
    let state = Mutex(State())

    func answer(_ request: HTTPServer.Request) -> HTTPServer.Answer {
      let (fault, number) = state.withLock { state in
        state.count += 1
        return (state.fault, state.count)
      }
      if let answer = fault?(request, number) { return answer }
      return usual(request)
    }

    func usual(_ request: HTTPServer.Request) -> HTTPServer.Answer {
      let parts = request.path.split(separator: "/").map(String.init)
      guard parts.first == "v2", parts.count >= 4 else {
        return HTTPServer.Answer(parts == ["v2"] ? 200 : 404)
      }
      let kind = parts[parts.count - 2]
      let name = parts[1..<(parts.count - 2)].joined(separator: "/")
      let leaf = parts[parts.count - 1]
      switch kind {
      case "manifests":
        guard let found = state.withLock({ $0.manifests["\(name)/\(leaf)"] }) else {
          return HTTPServer.Answer(404)
        }
        let digest = Verification.digest(of: found.bytes)
        return HTTPServer.Answer(
          200,
          headers: [("Content-Type", found.type), ("Docker-Content-Digest", "\(digest)")],
          body: found.bytes
        )
      case "blobs":
        guard let bytes = state.withLock({ $0.blobs[leaf] }) else { return HTTPServer.Answer(404) }
        guard request.headers["range"] != nil else { return HTTPServer.Answer(200, body: bytes) }
        guard let range = request.range(size: bytes.count) else { return HTTPServer.Answer(416) }
        return HTTPServer.Answer(
          206,
          headers: [("Content-Range", "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(bytes.count)")],
          body: Array(bytes[range])
        )
      case "tags":
        guard let tags = state.withLock({ $0.tags[name] }) else { return HTTPServer.Answer(404) }
        let quoted = tags.map { "\"\($0)\"" }.joined(separator: ",")
        return HTTPServer.Answer(200, body: Array("{\"name\":\"\(name)\",\"tags\":[\(quoted)]}".utf8))
      default: return HTTPServer.Answer(404)
      }
    }
  }

  private let box: Box
  package let server: HTTPServer

  /// Starts an empty registry.
  package init() throws {
    let box = Box()
    self.box = box
    server = try HTTPServer { box.answer($0) }
  }

  deinit { server.stop() }

  /// `127.0.0.1:PORT`.
  package var host: String { "127.0.0.1:\(server.port)" }

  /// Sets the faults: the closure gets the request and its number, and returns nil for the regular answer.
  package func setFault(_ fault: (@Sendable (HTTPServer.Request, Int) -> HTTPServer.Answer?)?) {
    box.state.withLock { $0.fault = fault }
  }

  /// Returns the regular answer to a request.
  package func truth(_ request: HTTPServer.Request) -> HTTPServer.Answer { box.usual(request) }

  /// Adds a blob.
  @discardableResult
  package func add(blob bytes: [UInt8]) -> Descriptor {
    let digest = Verification.digest(of: bytes)
    box.state.withLock { $0.blobs["\(digest)"] = bytes }
    return Descriptor(
      mediaType: MediaType(rawValue: "application/octet-stream"),
      digest: digest,
      size: Int64(bytes.count)
    )
  }

  /// Adds bytes as the blob of a digest, even if they do not match.
  package func add(blob bytes: [UInt8], as digest: Digest) {
    box.state.withLock { $0.blobs["\(digest)"] = bytes }
  }

  /// Adds a document under its digest and tags.
  @discardableResult
  package func add(
    document bytes: [UInt8],
    type: MediaType = .imageManifest,
    repository: String,
    tags: [String]
  ) -> Descriptor {
    let digest = Verification.digest(of: bytes)
    box.state.withLock { state in
      for name in tags + ["\(digest)"] { state.manifests["\(repository)/\(name)"] = (bytes, type.rawValue) }
      let known = Set(state.tags[repository] ?? []).union(tags)
      state.tags[repository] = known.sorted()
    }
    return Descriptor(mediaType: type, digest: digest, size: Int64(bytes.count))
  }

  /// Returns the bytes of a document that was added.
  package func document(_ target: String, of repository: String) -> [UInt8]? {
    box.state.withLock { $0.manifests["\(repository)/\(target)"]?.bytes }
  }

  /// Adds an artifact of files, named by title.
  @discardableResult
  package func add(
    files: [String: [UInt8]],
    repository: String,
    tag: String,
    annotations: [String: String] = [:]
  ) throws -> Descriptor {
    let layers = files.sorted { $0.key < $1.key }.map { name, bytes in
      (
        bytes, "application/octet-stream",
        annotations.merging(["org.opencontainers.image.title": name]) { $1 }
      )
    }
    return try add(layers: layers, repository: repository, tag: tag)
  }

  /// Adds an artifact of layers of any types.
  @discardableResult
  package func add(
    layers: [(bytes: [UInt8], type: String, annotations: [String: String])],
    repository: String,
    tag: String
  ) throws -> Descriptor {
    let descriptors = layers.map { bytes, type, annotations in
      var layer = add(blob: bytes)
      layer.mediaType = MediaType(rawValue: type)
      layer.annotations = annotations
      return layer
    }
    var config = add(blob: Array("{}".utf8))
    config.mediaType = .empty
    let manifest = Manifest(
      artifactType: MediaType(rawValue: "application/vnd.test.model"),
      config: config,
      layers: descriptors
    )
    return add(document: try JSONDocument.encode(manifest), repository: repository, tags: [tag])
  }

  /// Requests for blobs so far.
  package var blobRequests: [HTTPServer.Request] {
    server.requests.filter { $0.path.contains("/blobs/") && $0.method == "GET" }
  }
}
