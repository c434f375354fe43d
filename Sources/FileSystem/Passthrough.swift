import Disk
import LocalRegistry
import Logging
import Locking
package import SystemPackage
import Telemetry

/// Registers backing files with the kernel.
package protocol BackingRegistrar: Sendable {
  /// Registers an open file.
  ///
  /// - Parameter descriptor: The file; may be closed afterwards.
  /// - Returns: Its number, never 0.
  /// - Throws: `Errno` if the kernel refuses the file.
  func register(_ descriptor: FileDescriptor) throws(Errno) -> Int32

  /// Removes a registration.
  ///
  /// - Parameter number: From `register`.
  func remove(_ number: Int32)
}

/// Decides which files the kernel reads by passthrough, and remembers refusals.
final class Passthrough: Sendable {
  private struct State {
    var registrar: (any BackingRegistrar)?
    /// Whether every file is refused, because of the kernel or the privileges of the process.
    var isRefused = false
    /// File systems whose files the kernel refuses as backing files.
    var refusedDevices: Set<UInt64> = []
    var hasWorked = false
  }

  private let state = Mutex(State())
  private let metrics: Metrics
  private let log: Logger

  init(metrics: Metrics, log: Logger) {
    self.metrics = metrics
    self.log = log
  }

  /// Sets the registrar; nil if the kernel does not support passthrough.
  func use(_ registrar: (any BackingRegistrar)?) {
    state.withLock { $0.registrar = registrar }
    guard registrar == nil else { return }
    log.notice(
      "files are served by the daemon",
      metadata: ["reason": "the kernel does not support passthrough (needs Linux 6.9)"]
    )
  }

  /// Whether registering a file may succeed.
  func mayTake(_ identity: FileIdentity) -> Bool {
    state.withLock { state in
      state.registrar != nil && !state.isRefused && !state.refusedDevices.contains(identity.device)
    }
  }

  /// Registers a file; returns nil if the kernel refuses it, which is counted, and logged once per cause.
  func register(_ file: BlobFile) -> Int32? {
    guard let registrar = state.withLock({ $0.registrar }) else { return nil }
    do throws(Errno) {
      let number = try registrar.register(file.descriptor)
      let isFirst = state.withLock { state in
        defer { state.hasWorked = true }
        return !state.hasWorked
      }
      if isFirst { log.notice("the kernel reads complete files directly (passthrough)") }
      return number
    } catch {
      metrics.passthroughRefusals.add()
      note(error, file)
      return nil
    }
  }

  func remove(_ number: Int32) { state.withLock { $0.registrar }?.remove(number) }

  private func note(_ error: Errno, _ file: BlobFile) {
    let reason: String
    let isNew: Bool
    switch error {
    case .notPermitted:
      reason = "passthrough needs CAP_SYS_ADMIN in the initial user namespace"
      isNew = state.withLock { state in
        defer { state.isRefused = true }
        return !state.isRefused
      }
    case .noMemory, .tooManyOpenFiles, .tooManyOpenFilesInSystem:
      // The next registration may succeed.
      reason = "\(error)"
      isNew = true
    default:
      reason =
        error == .tooManySymbolicLinkLevels
        ? "the kernel does not accept backing files on a stacked file system (overlayfs, FUSE)" : "\(error)"
      isNew = state.withLock { $0.refusedDevices.insert(file.identity.device).inserted }
    }
    guard isNew else { return }
    log.notice(
      "files are served by the daemon",
      metadata: ["reason": "\(reason)", "first": "\(file.path)"]
    )
  }
}
