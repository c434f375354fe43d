import Artifacts
import ArgumentParser
import BlobCache
import Content
import Disk
import Glibc
import LocalRegistry
import Logging
import SystemPackage

/// Reads the configuration of a running mount again, on SIGHUP and by the control socket.
///
/// The options that `OptionTable` marks as reloadable are taken over, and the log file is opened again, so that it can be
/// rotated. A wrong configuration changes nothing.
enum Reload {
  /// Reads the configuration.
  ///
  /// Blocks for the lock of the ledger.
  ///
  /// - Parameter assembly: The components of the mount.
  /// - Returns: The reason why the configuration is wrong, or nil.
  static func run(_ assembly: Assembly) -> String? {
    let mount: Mount
    do {
      let words = try Invocation(Invocation.words).configured(CommonOptions.environment)
      guard words.first == "mount" else { return "this process is not a mount" }
      mount = try Mount.parse(Array(words.dropFirst()))
    } catch let error as ContentError {
      return "\(error)"
    } catch {
      return Mount.message(for: error)
    }
    do throws(ContentError) {
      try mount.apply(to: assembly)
      return nil
    } catch {
      return "\(error)"
    }
  }
}

extension Mount {
  /// Takes over the options that can change while the mount is used.
  fileprivate func apply(to assembly: Assembly) throws(ContentError) {
    let settings = settings
    try assembly.local.space.setLimits(settings.limits)
    let (resolver, times) = (assembly.resolver, settings.resolution)
    Task { await resolver.setTimes(timeToLive: times.timeToLive, staleWait: times.staleWait) }
    StandardErrorLog.setLevel(common.logLevel.flatMap { Logger.Level(rawValue: $0.rawValue) } ?? .notice)
    try openLogAgain()
  }

  /// Opens the log file again, if standard error is one.
  private func openLogAgain() throws(ContentError) {
    guard readyDescriptor != nil else { return }
    do throws(Errno) {
      let file = try openLog()
      guard dup2(file.rawValue, STDERR_FILENO) >= 0 else { throw Errno(rawValue: errno) }
      // The copy stays open; nothing was written through this descriptor.
      try? file.close()
    } catch {
      throw ContentError(.disk, "\(logPath)", error)
    }
  }
}
