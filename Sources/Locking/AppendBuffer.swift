import Glibc

/// Memory that one thread fills from its start, while others read what was filled.
// SAFETY: bytes before `count` never change, and `count` is published after they were written. Only one thread appends.
package final class AppendBuffer: @unchecked Sendable {
  /// Of the memory, bytes.
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

  /// Bytes that were filled.
  package var count: Int { filled.load(ordering: .acquiring) }

  /// Adds bytes; called by one thread at a time.
  ///
  /// - Parameter bytes: no more than there is room for.
  package func append(_ bytes: UnsafeRawBufferPointer) {
    let count = filled.load(ordering: .relaxed)
    precondition(count + bytes.count <= capacity, "more bytes than the buffer holds")
    guard let source = bytes.baseAddress else { return }
    memcpy(memory + count, source, bytes.count)
    filled.store(count + bytes.count, ordering: .releasing)
  }

  /// Calls a function with filled bytes.
  ///
  /// - Parameters:
  ///   - range: within what is filled.
  ///   - body: may not keep the pointer.
  /// - Returns: the result of the function.
  package func withBytes<Result, Failure: Error>(
    _ range: Range<Int>,
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "bytes that are not filled yet")
    return try body(UnsafeRawBufferPointer(start: memory + range.lowerBound, count: range.count))
  }
}

/// Buffers of one size, of which there are never more than a limit.
package final class AppendBufferPool: @unchecked Sendable {
  // SAFETY: memory of the free list belongs to nobody, and is handed out with the lock held.
  private struct State: @unchecked Sendable {
    var free: [UnsafeMutableRawPointer] = []
    var inUse = 0
  }

  /// Of one buffer, bytes; each starts at a multiple of it.
  package let capacity: Int
  private let limit: Int
  private let kept: Int
  private let state = Mutex(State())

  /// Makes a pool; memory is taken when it is needed first.
  ///
  /// - Parameters:
  ///   - capacity: of one buffer, bytes; a power of two, at least 4096.
  ///   - limit: buffers at the most.
  ///   - kept: buffers that stay when they are not used.
  package init(capacity: Int, limit: Int, kept: Int) {
    self.capacity = capacity
    self.limit = limit
    self.kept = kept
  }

  deinit {
    for memory in state.withLock({ $0.free }) { free(memory) }
  }

  /// Gives an empty buffer; nil where so many are in use as may be, or memory is short.
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
    // One fault in place of hundreds; a kernel without huge pages takes the hundreds.
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
