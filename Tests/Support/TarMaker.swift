/// Creates tars with arbitrary headers, which archivers would refuse to write.
package struct TarMaker: Sendable {
  package private(set) var bytes: [UInt8] = []

  /// Creates an empty tar.
  package init() {}

  /// Adds a member.
  ///
  /// - Parameters:
  ///   - name: The name in the header; a name over 100 bytes is preceded by a GNU long name.
  ///   - type: `0` file, `1` hard link, `2` symbolic link, `5` directory.
  ///   - target: The target of a link.
  ///   - content: The content of a file.
  ///   - mode: The permission bits.
  ///   - time: Seconds since 1970.
  ///   - size: The size in the header; nil for the actual size.
  ///   - expandedSize: The value of GNU's field for the expanded size of sparse members.
  package mutating func add(
    _ name: String,
    type: Character = "0",
    target: String = "",
    content: [UInt8] = [],
    mode: Int = 0o644,
    time: Int = 0,
    size: Int? = nil,
    expandedSize: Int? = nil
  ) {
    if name.utf8.count > 100 { addLong(name, type: "L") }
    if target.utf8.count > 100 { addLong(target, type: "K") }
    header(
      name,
      type: type,
      target: target,
      size: size ?? content.count,
      mode: mode,
      time: time,
      expandedSize: expandedSize
    )
    append(content)
  }

  /// Adds a PAX header for the next member.
  package mutating func addPAX(_ records: [(String, String)]) {
    var text = ""
    for (key, value) in records {
      let rest = " \(key)=\(value)\n"
      var length = rest.utf8.count
      // The length includes its own digits.
      while "\(length)".utf8.count + rest.utf8.count != length {
        length = "\(length)".utf8.count + rest.utf8.count
      }
      text += "\(length)\(rest)"
    }
    header("PaxHeader", type: "x", target: "", size: text.utf8.count, mode: 0o644, time: 0)
    append(Array(text.utf8))
  }

  /// The complete tar with its end.
  package var finished: [UInt8] { bytes + [UInt8](repeating: 0, count: 1024) }

  private mutating func addLong(_ text: String, type: Character) {
    header("././@LongLink", type: type, target: "", size: text.utf8.count + 1, mode: 0, time: 0)
    append(Array(text.utf8) + [0])
  }

  private mutating func append(_ content: [UInt8]) {
    bytes += content
    bytes += [UInt8](repeating: 0, count: (512 - content.count % 512) % 512)
  }

  private mutating func header(
    _ name: String,
    type: Character,
    target: String,
    size: Int,
    mode: Int,
    time: Int,
    expandedSize: Int? = nil
  ) {
    var block = [UInt8](repeating: 0, count: 512)
    func put(_ text: some Collection<UInt8>, at offset: Int) {
      for (index, byte) in text.enumerated() { block[offset + index] = byte }
    }
    func octal(_ number: Int, _ digits: Int) -> [UInt8] {
      let text = String(number, radix: 8)
      return Array((String(repeating: "0", count: max(0, digits - text.count)) + text).utf8)
    }
    put(name.utf8.prefix(100), at: 0)
    put(octal(mode, 7), at: 100)
    put(octal(0, 7), at: 108)
    put(octal(0, 7), at: 116)
    put(octal(size, 11), at: 124)
    put(octal(time, 11), at: 136)
    put("\(type)".utf8, at: 156)
    put(target.utf8.prefix(100), at: 157)
    put((expandedSize == nil ? "ustar\u{0}00" : "ustar  \u{0}").utf8, at: 257)
    if let expandedSize { put(octal(expandedSize, 11), at: 483) }
    put("        ".utf8, at: 148)
    let sum = block.reduce(0) { $0 + Int($1) }
    put(octal(sum, 6) + [0, 0x20], at: 148)
    bytes += block
  }
}
