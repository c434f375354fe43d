import Foundation

/// A random number generator with reproducible results (SplitMix64).
package struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64
  package let seed: UInt64

  /// Creates a generator.
  package init(seed: UInt64) {
    self.seed = seed
    state = seed
  }

  /// The seeds of a test: `WEIGHTFS_SEED` alone where the environment has it, so that a failing run can be repeated.
  ///
  /// - Parameter usual: the seeds of a run without that variable.
  package static func seeds(_ usual: some Sequence<UInt64>) -> [UInt64] {
    if let text = ProcessInfo.processInfo.environment["WEIGHTFS_SEED"], let seed = UInt64(text) {
      return [seed]
    }
    return Array(usual)
  }

  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }

  /// Returns bytes without repetition; the same for the same seed.
  ///
  /// They start like a GGUF file, so that a file of them may have the name of one.
  package static func bytes(_ count: Int, seed: UInt64) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      let raw = UnsafeMutableRawBufferPointer(buffer)
      for position in stride(from: 0, to: count & ~7, by: 8) {
        raw.storeBytes(of: generator.next(), toByteOffset: position, as: UInt64.self)
      }
      for position in count & ~7..<count { raw[position] = UInt8(truncatingIfNeeded: generator.next()) }
      for (index, byte) in "GGUF".utf8.enumerated() where index < count { buffer[index] = byte }
      filled = count
    }
  }
}
