// Everything that locks imports this module in place of Synchronization, whose Mutex ThreadSanitizer cannot see on
// Linux: its futex is in a library that no sanitizer looks into. The package's trait `PthreadMutex` puts a mutex of
// pthreads in its place, which ThreadSanitizer knows (`make test-tsan`).
@_exported public import Synchronization

#if PTHREAD_MUTEX
import Glibc

/// A value behind a mutex of pthreads, used as `Synchronization.Mutex` is.
public struct Mutex<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
  // SAFETY: the value is reached with the mutex held alone.
  private let lock: UnsafeMutablePointer<pthread_mutex_t>
  private let value: UnsafeMutablePointer<Value>

  /// Puts a value behind a mutex.
  ///
  /// - Parameter initial: the value.
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

  /// Calls a function with the value while the mutex is held.
  ///
  /// - Parameter body: may change the value.
  /// - Returns: what the function returns.
  public borrowing func withLock<Result: ~Copyable, Failure: Error>(
    _ body: (inout sending Value) throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result {
    pthread_mutex_lock(lock)
    defer { pthread_mutex_unlock(lock) }
    return try body(&value.pointee)
  }
}
#endif
