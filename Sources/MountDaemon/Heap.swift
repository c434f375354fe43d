import CLinux

/// The memory of the daemon.
package enum Heap {
  /// Makes the allocator return memory that one large artifact took.
  ///
  /// Call it before threads start: a heap that exists stays.
  package static func limit() { clinux_limit_heap() }
}
