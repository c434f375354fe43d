import Content
package import Logging
package import OCI
import Locking

/// Finds credentials where podman and docker users keep them (containers-auth.json(5), config.json of docker).
///
/// The files are read at each look-up, which is once a token, so that a `podman login` counts at once. A file that
/// cannot be read or parsed, and a helper that fails, is named once in the log.
package final class CredentialFiles: Sendable {
  /// The files, best first.
  package let paths: [String]
  /// The file that an option or `REGISTRY_AUTH_FILE` names.
  private let named: String?
  private let log: Logger
  private let warnings = OnceWarnings()
  /// Helpers wait for other programs, and for the network: they have threads of their own.
  private let executor = BlockingExecutor(label: "weightfs.credentials", threads: 4)
  private let asking = SingleFlight<String, Credential?>()

  // A file of credentials has some kilobytes.
  private static let fileLimit = 4 << 20

  /// Finds the files.
  ///
  /// An explicit file is the only one, then that of `REGISTRY_AUTH_FILE`, then that of `DOCKER_CONFIG`; else the runtime
  /// directories of podman, the configuration directory and docker's files.
  ///
  /// - Parameters:
  ///   - explicit: a path that an option names.
  ///   - environment: of the process; mount(8) and systemd pass next to nothing.
  ///   - user: whose files are meant; its home directory is used where `HOME` is not set.
  ///   - log: for files that cannot be read and credentials that are refused.
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
      // podman without a session; others could make this directory, so its owner is looked at.
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

  /// The credential for a repository, from the first file that has one or names a helper that has.
  ///
  /// - Parameter repository: what is asked for.
  /// - Returns: nil where there is none.
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
      // Of the usual places most have none; one that somebody named was meant.
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

  /// Asks a helper, one at a time for each registry whoever wants to know.
  private func ask(_ name: String, _ server: String, _ path: String) async -> FoundCredential? {
    let credential: Credential?
    do throws(ContentError) {
      credential = try await asking.value(for: "\(name) \(server)") { await self.run(name, server, path) }
    } catch {
      // Only a cancelled caller gets an error.
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
