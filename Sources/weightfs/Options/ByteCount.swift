import ArgumentParser

/// A number of bytes as users write it: `1048576`, `512M`, `20G`, `1.5TiB`.
struct ByteCount: ExpressibleByArgument {
  let bytes: Int64

  init(bytes: Int64) { self.bytes = bytes }

  init?(argument: String) {
    let digits = argument.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    let unit = argument.dropFirst(digits.count).uppercased()
    let factors: [String: Double] = [
      "": 1, "B": 1, "K": 0x1p10, "M": 0x1p20, "G": 0x1p30, "T": 0x1p40, "P": 0x1p50,
    ]
    let short = unit.hasSuffix("IB") ? String(unit.dropLast(2)) : unit
    guard let value = Double(digits), let factor = factors[short], value * factor < 0x1p62 else { return nil }
    bytes = Int64(value * factor)
  }
}

extension ByteCount: CustomStringConvertible {
  /// The text that gives this value as an option.
  var description: String {
    let units = ["", "K", "M", "G", "T"]
    var (value, unit) = (bytes, 0)
    while value > 0, value.isMultiple(of: 1024), unit < units.count - 1 {
      (value, unit) = (value / 1024, unit + 1)
    }
    return "\(value)\(units[unit])"
  }
}
