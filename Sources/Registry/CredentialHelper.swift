import CLinux
import Content
import Glibc
import OCI

/// A program that keeps credentials: `docker-credential-NAME get`, which reads the address of a registry and writes JSON
/// (github.com/docker/docker-credential-helpers).
struct CredentialHelper: Sendable {
  let name: String

  /// Why a helper gave nothing.
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  private struct Answer: Decodable {
    let Username: String?
    let Secret: String?
  }

  // Helpers that ask a cloud answer in a second or two; one that waits for a prompt never does.
  private static let timeLimit = 10_000
  private static let outputLimit = 64 << 10
  // What helpers say where they have no entry.
  private static let absent = "credentials not found"

  /// Asks for the credential of a registry.
  ///
  /// Blocks, for ten seconds at most.
  ///
  /// - Parameter server: the registry's address.
  /// - Returns: nil where the helper has none.
  /// - Throws: `Failure`.
  func credential(for server: String) throws(Failure) -> Credential? {
    guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "/") }) else {
      throw Failure(description: "its name is none of a program")
    }
    let program = "docker-credential-\(name)"
    var output = [UInt8](repeating: 0, count: Self.outputLimit)
    var count = 0
    let status = server.withCString { text in
      output.withUnsafeMutableBufferPointer { buffer in
        clinux_run(program, "get", text, buffer.baseAddress, buffer.count, &count, Int32(Self.timeLimit))
      }
    }
    let text = Array(output.prefix(count))
    guard status >= 0 else {
      let reason =
        switch -status {
        case ETIMEDOUT: "it gave no answer for \(Self.timeLimit / 1000) s"
        case ENOENT: "there is no such program on the PATH"
        case EMSGSIZE: "it wrote more than \(Self.outputLimit) bytes"
        default: String(cString: strerror(-status))
        }
      throw Failure(description: "\(program): \(reason)")
    }
    guard status == 0 else {
      if String(decoding: text, as: UTF8.self).contains(Self.absent) { return nil }
      // Its output is where the secret would stand.
      let isMessage =
        text.first != UInt8(ascii: "{") && !String(decoding: text, as: UTF8.self).contains("Secret")
      throw Failure(
        description: "\(program) ended with status \(status)"
          + (isMessage && !text.isEmpty ? ": \(ForeignText.excerpt(text))" : "")
      )
    }
    guard let answer = try? JSONDocument.decode(Answer.self, from: text), let secret = answer.Secret else {
      throw Failure(description: "\(program) wrote something that is no credential")
    }
    guard !secret.isEmpty else { return nil }
    return Credential(username: answer.Username ?? "", secret: secret)
  }
}
