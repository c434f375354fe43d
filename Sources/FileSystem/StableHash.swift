/// FNV-1a with 64 bits, for inode numbers that are the same on every machine and after every mount.
enum StableHash {
  static func of(_ bytes: some Sequence<UInt8>, seed: UInt64 = 0xcbf2_9ce4_8422_2325) -> UInt64 {
    var hash = seed
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return hash
  }

  /// Returns a valid inode number: neither 0 nor 1, which is the root's.
  static func inode(_ hash: UInt64) -> UInt64 { hash > 1 ? hash : hash + 2 }
}
