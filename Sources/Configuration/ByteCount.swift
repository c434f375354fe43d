/// A number of bytes as users write it: `1048576`, `512M`, `20G`, `20GB`, `1.5TiB`.
///
/// All units are powers of 1024, with and without `i`, as every size that weightfs prints.
package struct ByteCount: Sendable, Equatable {
  package let bytes: Int64

  /// Creates a number of bytes.
  package init(bytes: Int64) { self.bytes = bytes }

  /// Parses a text, or returns nil.
  package init?(_ text: String) {
    let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    var unit = text.dropFirst(digits.count).uppercased()
    let factors: [String: Double] = [
      "": 1, "K": 0x1p10, "M": 0x1p20, "G": 0x1p30, "T": 0x1p40, "P": 0x1p50,
    ]
    if unit.hasSuffix("IB"), unit.count == 3 {
      unit = String(unit.dropLast(2))
    } else if unit.hasSuffix("B"), unit.count <= 2 {
      unit = String(unit.dropLast())
    }
    guard let value = Double(digits), let factor = factors[unit], value * factor < 0x1p62 else { return nil }
    bytes = Int64(value * factor)
  }
}

extension ByteCount: CustomStringConvertible {
  /// The text that gives this value as an option.
  package var description: String {
    let units = ["", "K", "M", "G", "T"]
    var (value, unit) = (bytes, 0)
    while value > 0, value.isMultiple(of: 1024), unit < units.count - 1 {
      (value, unit) = (value / 1024, unit + 1)
    }
    return "\(value)\(units[unit])"
  }
}
