import Glibc

/// The wall clock, for dates in server responses.
enum WallClock {
  /// The seconds since 1970.
  static var seconds: Int64 { Int64(time(nil)) }
}
