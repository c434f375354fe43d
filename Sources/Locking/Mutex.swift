// All targets import this module rather than Synchronization, whose Mutex ThreadSanitizer does not recognize
// on
// Linux: its futex is in a library that is not instrumented. The package's trait `PthreadMutex` replaces it
// with a
// pthread mutex, which ThreadSanitizer recognizes (`make test-tsan`).
@_exported public import Synchronization

#if PTHREAD_MUTEX
import Glibc

/// A value protected by a pthread mutex, with the interface of `Synchronization.Mutex`.
public struct Mutex<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
  // SAFETY: the value is accessed only with the mutex held.
  private let lock: UnsafeMutablePointer<pthread_mutex_t>
  private let value: UnsafeMutablePointer<Value>

  /// Creates a mutex that protects a value.
  public init(_ initial: consuming sending Value) {
    lock = .allocate(capacity: 1)
    value = .allocate(capacity: 1)
    value.initialize(to: initial)
    pthread_mutex_init(lock, nil)
  }

  deinit {
    pthread_mutex_destroy(lock)
    value.deinitialize(count: 1)
    value.deallocate()
    lock.deallocate()
  }

  /// Calls a closure with the value while the mutex is held, and returns its result.
  public borrowing func withLock<Result: ~Copyable, Failure: Error>(
    _ body: (inout sending Value) throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    return try body(&value.pointee)
  }
}
#endif
