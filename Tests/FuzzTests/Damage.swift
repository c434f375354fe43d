import TestSupport

/// Random damage to bytes.
enum Damage {
  // Numbers at the limits of integer fields.
  private static let edges: [UInt64] = [
    0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, .max,
  ]
  private static let words = [
    "9223372036854775807", "-1", "1e400", "\\u0000", "{\"a\":", "[[[[", "null", "../", "\u{202e}", "%00",
    "\"", "}",
  ]

  /// Damages an input in one to five positions.
  static func apply(to input: inout [UInt8], others: [[UInt8]], _ generator: inout SeededGenerator) {
    for _ in 0..<Int.random(in: 1...5, using: &generator) { once(&input, others, &generator) }
  }

  private static func once(_ input: inout [UInt8], _ others: [[UInt8]], _ generator: inout SeededGenerator) {
    let place = Int.random(in: 0...input.count, using: &generator)
    let length = Int.random(in: 0...min(64, input.count - place), using: &generator)
    switch Int.random(in: 0..<9, using: &generator) {
    case 0 where place < input.count: input[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
    case 1 where place < input.count: input[place] = .random(in: 0...255, using: &generator)
    case 2: input.removeSubrange(place..<place + length)
    case 3: input.insert(contentsOf: input[place..<place + length], at: place)
    case 4: input.removeSubrange(place...)
    case 5:
      let other = others[Int.random(in: others.indices, using: &generator)]
      let from = Int.random(in: 0...other.count, using: &generator)
      input.insert(contentsOf: other[from...].prefix(200), at: place)
    case 6:
      let value = edges[Int.random(in: edges.indices, using: &generator)]
      let bytes = withUnsafeBytes(of: value) {
        Array($0.prefix([1, 2, 4, 8].randomElement(using: &generator) ?? 8))
      }
      input.replaceSubrange(place..<min(place + bytes.count, input.count), with: bytes)
    case 7:
      input.insert(contentsOf: Array(words[Int.random(in: words.indices, using: &generator)].utf8), at: place)
    default:
      // Replaces a digit: sizes, modes and lengths in text form.
      let digits = input.indices.filter { (0x30...0x39).contains(input[$0]) }
      if let digit = digits.randomElement(using: &generator) {
        input[digit] = .random(in: 0x30...0x39, using: &generator)
      }
    }
  }
}
