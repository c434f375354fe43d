import CLinux

/// The memory of the daemon.
package enum Heap {
  /// Makes the allocator return memory that one large artifact took.
  ///
  /// Heaps that threads have already stay; call it before the mount starts its own threads.
  package static func limit() { clinux_limit_heap() }
}
