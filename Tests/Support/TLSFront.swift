import Foundation

/// Speaks TLS on loopback in front of a server that speaks plain HTTP, with a certificate made for it.
///
/// A request in plain HTTP is answered with a TLS alert, as servers do that take it for a broken hello.
package final class TLSFront: Sendable {
  /// What is wrong with the certificate.
  package enum Certificate: Sendable {
    case right, expired, ofAnotherHost, ofUnknownIssuer
  }

  private let folder: TemporaryFolder
  private let server: PythonServer
  package var port: Int { server.port }

  /// Starts a front.
  ///
  /// - Parameters:
  ///   - target: the port of the plain server on 127.0.0.1.
  ///   - certificate: that it shows.
  package init(to target: Int, _ certificate: Certificate = .right) async throws {
    let folder = try TemporaryFolder()
    self.folder = folder
    let made = try await Command.shell("cd '\(folder.path)' && \(Self.recipe(certificate))")
    guard made.status == 0 else { throw PythonServer.Failure(text: made.error) }
    let arguments = [folder.path("certificate.pem"), folder.path("key.pem"), "\(target)"]
    server = try await PythonServer(Self.script, arguments, in: folder)
  }

  /// `localhost:PORT`.
  package var host: String { "localhost:\(port)" }

  /// The certificate, to be trusted where it is signed by itself.
  package var trusted: String { folder.path("certificate.pem") }

  private static func recipe(_ certificate: Certificate) -> String {
    let name = certificate == .ofAnotherHost ? "elsewhere.example" : "localhost"
    let days = certificate == .expired ? -1 : 2
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    let request =
      "openssl req \(key) -keyout key.pem -out request.pem -subj /CN=front -addext subjectAltName=DNS:\(name)"
    let sign = "openssl x509 -req -in request.pem -days \(days) -copy_extensions copy -out certificate.pem"
    guard certificate == .ofUnknownIssuer else { return "\(request) && \(sign) -signkey key.pem" }
    let authority = "openssl req -x509 \(key) -keyout issuer.key -out issuer.pem -days 2 -subj /CN=issuer"
    return "\(request) && \(authority) && \(sign) -CA issuer.pem -CAkey issuer.key -CAcreateserial"
  }

  private static let script = """
    import select, socket, ssl, sys, threading

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)

    def relay(inner, outer):
        while True:
            ready = [inner] if inner.pending() else select.select([inner, outer], [], [])[0]
            for source in ready:
                data = source.recv(65536)
                if not data: return
                (outer if source is inner else inner).sendall(data)

    def serve(client):
        with client:
            try:
                if client.recv(1, socket.MSG_PEEK) != b"\\x16":
                    client.recv(65536)
                    # A fatal alert: protocol_version (RFC 8446, 6).
                    client.sendall(bytes([21, 3, 1, 0, 2, 2, 70]))
                    return
                with context.wrap_socket(client, server_side=True) as inner:
                    with socket.create_connection(("127.0.0.1", int(sys.argv[3]))) as outer: relay(inner, outer)
            except OSError: pass

    print(listener.getsockname()[1], flush=True)
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
    """
}
