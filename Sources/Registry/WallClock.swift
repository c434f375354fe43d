import Glibc

/// The time by which servers write dates.
enum WallClock {
  /// Seconds since 1970.
  static var seconds: Int64 { Int64(time(nil)) }
}
