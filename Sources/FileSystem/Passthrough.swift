import Disk
import LocalRegistry
import Logging
import Locking
package import SystemPackage
import Telemetry

/// Registers files that the kernel reads itself.
package protocol BackingRegistrar: Sendable {
  /// Registers an open file.
  ///
  /// - Parameter descriptor: may be closed afterwards.
  /// - Returns: its number, never 0.
  /// - Throws: `Errno` where the kernel refuses.
  func register(_ descriptor: FileDescriptor) throws(Errno) -> Int32

  /// Takes a registration back.
  ///
  /// - Parameter number: from `register`.
  func remove(_ number: Int32)
}

/// Which files the kernel may read itself, and what was learned by trying.
final class Passthrough: Sendable {
  private struct State {
    var registrar: (any BackingRegistrar)?
    /// No file will do: the kernel or the rights of the process forbid it.
    var isRefused = false
    /// File systems that the kernel does not take backing files of.
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

  /// Sets who registers; nil where the kernel offers no passthrough.
  func use(_ registrar: (any BackingRegistrar)?) {
    state.withLock { $0.registrar = registrar }
    guard registrar == nil else { return }
    log.notice(
      "files are served by the daemon",
      metadata: ["reason": "the kernel offers no passthrough (Linux 6.9)"]
    )
  }

  /// Whether a file is worth trying.
  func mayTake(_ identity: FileIdentity) -> Bool {
    state.withLock { state in
      state.registrar != nil && !state.isRefused && !state.refusedDevices.contains(identity.device)
    }
  }

  /// Registers a file; nil where the kernel refuses it, which is logged once a cause and counted.
  func register(_ file: BlobFile) -> Int32? {
    guard let registrar = state.withLock({ $0.registrar }) else { return nil }
    do throws(Errno) {
      let number = try registrar.register(file.descriptor)
      let isFirst = state.withLock { state in
        defer { state.hasWorked = true }
        return !state.hasWorked
      }
      if isFirst { log.notice("complete files are read by the kernel itself (passthrough)") }
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
      reason = "passthrough needs CAP_SYS_ADMIN"
      isNew = state.withLock { state in
        defer { state.isRefused = true }
        return !state.isRefused
      }
    case .noMemory, .tooManyOpenFiles, .tooManyOpenFilesInSystem:
      // It may work for the next one.
      reason = "\(error)"
      isNew = true
    default:
      reason =
        error == .tooManySymbolicLinkLevels
        ? "the kernel does not take backing files of a stacked file system (overlayfs, FUSE)" : "\(error)"
      isNew = state.withLock { $0.refusedDevices.insert(file.identity.device).inserted }
    }
    guard isNew else { return }
    log.notice(
      "files are served by the daemon",
      metadata: ["reason": "\(reason)", "first": "\(file.path)"]
    )
  }
}
