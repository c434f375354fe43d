import CLinux

/// Processors that this process may use.
package enum ProcessorCount {
  /// At least 1; the limit of `taskset` or of a container's set of processors counts.
  package static var value: Int { Int(clinux_processor_count()) }
}
