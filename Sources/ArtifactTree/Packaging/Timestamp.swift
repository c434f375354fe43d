/// Parses RFC 3339 times of annotations.
package enum Timestamp {
  /// Returns the seconds since 1970 of `2026-11-21T10:31:00[.123](Z|+01:00)`, or nil if the text is not such
  /// a time.
  package static func seconds(_ text: String) -> Int64? {
    let bytes = Array(text.utf8.prefix(64))
    func number(_ range: Range<Int>) -> Int64? {
      guard range.upperBound <= bytes.count else { return nil }
      var value: Int64 = 0
      for byte in bytes[range] {
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
        value = value * 10 + Int64(byte - UInt8(ascii: "0"))
      }
      return value
    }
    guard bytes.count >= 20, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"),
      bytes[10] | 0x20 == UInt8(ascii: "t"), let year = number(0..<4), let month = number(5..<7),
      let day = number(8..<10), let hour = number(11..<13), let minute = number(14..<16),
      let second = number(17..<19), (1...12).contains(month), (1...31).contains(day)
    else { return nil }
    var position = 19
    if bytes[position] == UInt8(ascii: ".") {
      position += 1
      while position < bytes.count, number(position..<position + 1) != nil { position += 1 }
    }
    guard position < bytes.count else { return nil }
    var shift: Int64 = 0
    switch bytes[position] {
    case UInt8(ascii: "Z"), UInt8(ascii: "z"): break
    case UInt8(ascii: "+"), UInt8(ascii: "-"):
      guard let hours = number(position + 1..<position + 3), let minutes = number(position + 4..<position + 6)
      else {
        return nil
      }
      shift = (hours * 60 + minutes) * (bytes[position] == UInt8(ascii: "+") ? -60 : 60)
    default: return nil
    }
    // Algorithm "days from civil": the year starts in March, so that a leap day is its last day.
    let shiftedYear = month <= 2 ? year - 1 : year
    let era = shiftedYear / 400
    let yearOfEra = shiftedYear - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    return days * 86_400 + hour * 3600 + minute * 60 + second + shift
  }
}
