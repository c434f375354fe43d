import Glibc
import Locking

/// Reports the result of the mount to the process that started this one.
final class ReadySignal: Sendable {
  private let descriptor: Mutex<Int32?>

  init(descriptor: Int32?) { self.descriptor = Mutex(descriptor) }

  func succeed() { send("ready\n") }

  /// Reports a failure; writes it to standard error if no process waits for the result.
  func fail(_ message: String, _ status: Int32) {
    if !send("\(status) \(message)\n") { Terminal.printError(message) }
  }

  @discardableResult
  private func send(_ text: String) -> Bool {
    guard let target = descriptor.withLock({ $0.take() }) else { return false }
    Terminal.write(text, to: target)
    close(target)
    return true
  }
}
