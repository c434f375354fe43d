import CLinux
import Content
import Glibc
import OCI

/// A credential helper: `docker-credential-NAME get` reads the address of a registry and writes JSON
/// (github.com/docker/docker-credential-helpers).
struct CredentialHelper: Sendable {
  let name: String

  /// The reason why a helper returned no credential.
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  private struct Answer: Decodable {
    let Username: String?
    let Secret: String?
  }

  // Time limit in milliseconds: helpers that ask a cloud service answer in two seconds; one that shows a
  // prompt never answers.
  private static let timeLimit = 10_000
  private static let outputLimit = 64 << 10
  // The message of helpers that have no entry.
  private static let absent = "credentials not found"

  /// Asks the helper for the credential of a registry, or returns nil if the helper has none.
  ///
  /// Blocks the calling thread for up to ten seconds.
  ///
  /// - Parameter server: The registry's address.
  /// - Throws: `Failure`.
  func credential(for server: String) throws(Failure) -> Credential? {
    guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "/") }) else {
      throw Failure(description: "the helper's name is not a valid program name")
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
        case ETIMEDOUT: "no answer for \(Self.timeLimit / 1000) s"
        case ENOENT: "no such program on the PATH"
        case EMSGSIZE: "the output has more than \(Self.outputLimit) bytes"
        default: String(cString: strerror(-status))
        }
      throw Failure(description: "\(program): \(reason)")
    }
    guard status == 0 else {
      if String(decoding: text, as: UTF8.self).contains(Self.absent) { return nil }
      // Output that may contain the secret is not quoted.
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
