import CLinux

/// Settings of the memory allocator.
package enum Heap {
  /// Makes the allocator return memory to the system after a large artifact was loaded.
  ///
  /// Must be called before the mount starts its threads, as it does not affect the heaps of existing threads.
  package static func limit() { clinux_limit_heap() }
}
