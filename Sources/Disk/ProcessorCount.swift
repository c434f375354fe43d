import CLinux

/// The number of processors that this process may use.
package enum ProcessorCount {
  /// At least 1; respects the CPU affinity that `taskset` or a container sets.
  package static var value: Int { Int(clinux_processor_count()) }
}
