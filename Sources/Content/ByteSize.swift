/// Sizes in messages.
package enum ByteSize {
  /// Returns a size with a binary unit and one decimal, such as `1.5 GiB`.
  ///
  /// - Parameter bytes: The size, not negative.
  package static func text(_ bytes: Int64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    var value = Double(bytes)
    var unit = 0
    while value >= 1024, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    if unit == 0 { return "\(bytes) B" }
    // 1023.96 KiB would be printed as 1024.0 KiB.
    if (value * 10).rounded() >= 10_240, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    let tenths = Int((value * 10).rounded())
    return "\(tenths / 10).\(tenths % 10) \(units[unit])"
  }
}
