import Content
package import Logging
package import OCI
import Locking

/// Finds credentials where podman and docker store them (containers-auth.json(5), config.json of docker).
///
/// The files are read at each lookup, which is once per token, so that a `podman login` takes effect at once.
/// A file that cannot be read or parsed, and a helper that fails, is logged once.
package final class CredentialFiles: Sendable {
  /// The paths of the files, in order of precedence.
  package let paths: [String]
  /// The path from an option or `REGISTRY_AUTH_FILE`; nil if neither is set.
  private let named: String?
  private let log: Logger
  private let warnings = OnceWarnings()
  /// Helpers wait for other programs and for the network: they run on threads of their own.
  private let executor = BlockingExecutor(label: "weightfs.credentials", threads: 4)
  private let asking = SingleFlight<String, Credential?>()

  // The maximum size of a credential file in bytes; usual files have a few kilobytes.
  private static let fileLimit = 4 << 20

  /// Determines the paths of the files.
  ///
  /// If an option names a file, no other file is read; the same holds for `REGISTRY_AUTH_FILE`, then
  /// `DOCKER_CONFIG`. Otherwise the files are podman's runtime directories, the configuration directory and
  /// docker's files.
  ///
  /// - Parameters:
  ///   - explicit: The path from an option; nil for none.
  ///   - environment: The environment of the process; mount(8) and systemd pass almost no variables.
  ///   - user: The owner of the files; its home directory is used if `HOME` is not set.
  ///   - log: Receives warnings about files that cannot be read and credentials that are refused.
  package init(
    explicit: String? = nil,
    environment: [String: String],
    user: UserAccount = .current,
    log: Logger
  ) {
    self.log = log
    func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    named = explicit ?? value("REGISTRY_AUTH_FILE")
    if let named {
      paths = [named]
    } else if let folder = value("DOCKER_CONFIG") {
      paths = ["\(folder)/config.json"]
    } else {
      var paths: [String] = []
      if let folder = value("XDG_RUNTIME_DIR") { paths.append("\(folder)/containers/auth.json") }
      paths.append("/run/containers/\(user.identifier)/auth.json")
      // The directory of podman without a session; other users could create it, so its owner is checked.
      let temporary = "\(value("TMPDIR") ?? "/tmp")/podman-run-\(user.identifier)"
      if user.owns(temporary) { paths.append("\(temporary)/containers/auth.json") }
      let home = value("HOME") ?? user.home
      if let folder = value("XDG_CONFIG_HOME") ?? home.map({ "\($0)/.config" }) {
        paths.append("\(folder)/containers/auth.json")
      }
      if let home { paths += ["\(home)/.docker/config.json", "\(home)/.dockercfg"] }
      self.paths = paths
    }
  }

  /// Returns the credential for a repository from the first file, or helper named by a file, that has one.
  ///
  /// - Parameter repository: The repository to access.
  /// - Returns: nil if no file or helper has a credential.
  package func credential(for repository: RepositoryName) async -> FoundCredential? {
    for path in paths {
      guard let file = await executor.ask({ self.read(path) }) else { continue }
      let helper = file.helper(for: repository.registry)
      if let helper, !helper.isDefault, let found = await ask(helper.name, helper.server, path) {
        return found
      }
      if let credential = file.credential(for: repository) {
        return FoundCredential(credential: credential, source: path)
      }
      if let helper, helper.isDefault, let found = await ask(helper.name, helper.server, path) {
        return found
      }
    }
    return nil
  }

  private func read(_ path: String) -> CredentialFile? {
    let bytes: [UInt8]?
    do throws(SmallFile.Failure) {
      bytes = try SmallFile.read(path, limit: Self.fileLimit)
    } catch {
      warn(path, "\(error)")
      return nil
    }
    guard let bytes else {
      // Most of the default paths do not exist; a missing file that an option names is reported.
      if path == named { warn(path, "there is no such file") }
      return nil
    }
    do throws(DocumentError) {
      let file = try CredentialFile(bytes, isLegacy: path.hasSuffix(".dockercfg"))
      for key in file.unreadable { warn(path, "the entry '\(ForeignText.visible(key))' cannot be read") }
      return file
    } catch {
      warn(path, error.reason)
      return nil
    }
  }

  private func warn(_ source: String, _ reason: String) {
    guard warnings.isFirst("\(source) \(reason)") else { return }
    log.warning("credentials cannot be read", metadata: ["from": "\(source)", "reason": "\(reason)"])
  }

  /// Asks a helper; concurrent requests for the same registry share one call.
  private func ask(_ name: String, _ server: String, _ path: String) async -> FoundCredential? {
    let credential: Credential?
    do throws(ContentError) {
      credential = try await asking.value(for: "\(name) \(server)") { await self.run(name, server, path) }
    } catch {
      // Only a cancelled caller receives an error.
      return nil
    }
    let source = "\(path) (docker-credential-\(name))"
    return credential.map { FoundCredential(credential: $0, source: source) }
  }

  private func run(_ name: String, _ server: String, _ path: String) async -> Credential? {
    let result: Result<Credential?, CredentialHelper.Failure> = await executor.ask {
      do throws(CredentialHelper.Failure) {
        return .success(try CredentialHelper(name: name).credential(for: server))
      } catch {
        return .failure(error)
      }
    }
    switch result {
    case .success(let credential): return credential
    case .failure(let failure):
      warn(path, failure.description)
      return nil
    }
  }
}
