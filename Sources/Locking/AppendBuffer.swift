import Glibc

/// A buffer that one thread appends to, while other threads read the bytes appended so far.
// SAFETY: bytes before `count` never change, and `count` is published after they were written. Only one
// thread appends.
package final class AppendBuffer: @unchecked Sendable {
  /// Size of the buffer in bytes.
  package let capacity: Int
  private let memory: UnsafeMutableRawPointer
  private let filled = Atomic<Int>(0)
  private let pool: AppendBufferPool

  fileprivate init(_ memory: UnsafeMutableRawPointer, _ pool: AppendBufferPool) {
    self.memory = memory
    self.pool = pool
    capacity = pool.capacity
  }

  deinit { pool.giveBack(memory) }

  /// Number of bytes appended so far.
  package var count: Int { filled.load(ordering: .acquiring) }

  /// Appends bytes; calls must not overlap.
  ///
  /// - Parameter bytes: At most as many as still fit.
  package func append(_ bytes: UnsafeRawBufferPointer) {
    let count = filled.load(ordering: .relaxed)
    precondition(count + bytes.count <= capacity, "the bytes do not fit into the buffer")
    guard let source = bytes.baseAddress else { return }
    memcpy(memory + count, source, bytes.count)
    filled.store(count + bytes.count, ordering: .releasing)
  }

  /// Calls a closure with appended bytes and returns its result.
  ///
  /// - Parameters:
  ///   - range: A range within `0..<count`.
  ///   - body: Must not keep the pointer.
  package func withBytes<Result, Failure: Error>(
    _ range: Range<Int>,
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "the range has not been appended yet")
    return try body(UnsafeRawBufferPointer(start: memory + range.lowerBound, count: range.count))
  }
}

/// A pool of buffers of one size, with a maximum number.
package final class AppendBufferPool: @unchecked Sendable {
  // SAFETY: memory in the free list has no other owner, and is handed out with the lock held.
  private struct State: @unchecked Sendable {
    var free: [UnsafeMutableRawPointer] = []
    var inUse = 0
  }

  /// Size and alignment of a buffer in bytes.
  package let capacity: Int
  private let limit: Int
  private let kept: Int
  private let state = Mutex(State())

  /// Creates a pool; memory is allocated on first use.
  ///
  /// - Parameters:
  ///   - capacity: The size of a buffer in bytes; a power of two, at least 4096.
  ///   - limit: The maximum number of buffers in use.
  ///   - kept: The maximum number of unused buffers to keep.
  package init(capacity: Int, limit: Int, kept: Int) {
    self.capacity = capacity
    self.limit = limit
    self.kept = kept
  }

  deinit {
    for memory in state.withLock({ $0.free }) { free(memory) }
  }

  /// Returns an empty buffer, or nil if the limit is reached or memory is short.
  package func take() -> AppendBuffer? {
    let (known, mayMake) = state.withLock { state -> (UnsafeMutableRawPointer?, Bool) in
      guard state.inUse < limit else { return (nil, false) }
      state.inUse += 1
      return (state.free.popLast(), true)
    }
    if let known { return AppendBuffer(known, self) }
    guard mayMake else { return nil }
    var memory: UnsafeMutableRawPointer?
    guard posix_memalign(&memory, capacity, capacity) == 0, let memory else {
      state.withLock { $0.inUse -= 1 }
      return nil
    }
    // With huge pages, filling the buffer causes one page fault rather than hundreds.
    madvise(memory, capacity, MADV_HUGEPAGE)
    return AppendBuffer(memory, self)
  }

  fileprivate func giveBack(_ memory: UnsafeMutableRawPointer) {
    let isKept = state.withLock { state in
      state.inUse -= 1
      guard state.free.count < kept else { return false }
      state.free.append(memory)
      return true
    }
    if !isKept { free(memory) }
  }
}
