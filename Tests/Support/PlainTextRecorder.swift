import Foundation

/// A relay on loopback that records what its clients send before TLS: requests in plain text, and CONNECT.
///
/// A CONNECT is answered as a proxy answers it, but every tunnel leads to the same target, whatever host it names.
package final class PlainTextRecorder: Sendable {
  private let folder: TemporaryFolder
  private let server: PythonServer
  package var port: Int { server.port }

  /// Starts a relay.
  ///
  /// - Parameters:
  ///   - target: The port on 127.0.0.1 that connections lead to.
  ///   - answer: The answer to a request in plain text; nil to relay such a request.
  package init(to target: Int, answer: String? = nil) async throws {
    let folder = try TemporaryFolder()
    self.folder = folder
    try folder.write(Array((answer ?? "").utf8), to: "answer")
    try folder.write([], to: "record")
    let arguments = ["\(target)", folder.path("answer"), folder.path("record")]
    server = try await PythonServer(Self.script, arguments, in: folder)
  }

  /// Returns every byte that clients sent in plain text so far.
  package func plainText() throws -> String { String(decoding: try folder.read("record"), as: UTF8.self) }

  /// Returns the `host:port` of each CONNECT so far.
  package func tunnels() throws -> [String] {
    try plainText().matches(of: /CONNECT (\S+) HTTP/).map { String($0.1) }
  }

  private static let script = """
    import select, socket, sys, threading

    answer = open(sys.argv[2], "rb").read()
    record = open(sys.argv[3], "ab", buffering=0)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def head(client):
        data = b""
        while b"\\r\\n\\r\\n" not in data:
            piece = client.recv(65536)
            if not piece: break
            data += piece
        record.write(data)
        return data

    def serve(client):
        with client:
            try:
                # A hello of TLS starts with 0x16 (RFC 8446, 5.1).
                seen = b"" if client.recv(1, socket.MSG_PEEK) == b"\\x16" else head(client)
                if seen.startswith(b"CONNECT "):
                    client.sendall(b"HTTP/1.1 200 Connected\\r\\n\\r\\n")
                    seen = b""
                elif seen and answer:
                    client.sendall(answer)
                    return
                with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as outer:
                    outer.sendall(seen)
                    while True:
                        for source in select.select([client, outer], [], [])[0]:
                            data = source.recv(65536)
                            if not data: return
                            (outer if source is client else client).sendall(data)
            except OSError: pass

    print(listener.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
    """
}
