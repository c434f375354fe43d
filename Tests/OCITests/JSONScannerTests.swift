import Foundation
import OCI
import TestSupport
import Testing

struct JSONScannerTests {
  /// Returns a value in the same form as the result of Foundation's parser.
  private func value(_ scanner: inout JSONScanner) throws(DocumentError) -> String {
    if scanner.isNext(UInt8(ascii: "{")) {
      try scanner.enterObject()
      var found: [String] = []
      while let key = try scanner.nextKey() { found.append("\(key)=\(try value(&scanner))") }
      return "{\(found.joined(separator: ";"))}"
    }
    if scanner.isNext(UInt8(ascii: "[")) {
      try scanner.enterArray()
      var found: [String] = []
      while try scanner.nextElement() { found.append(try value(&scanner)) }
      return "[\(found.joined(separator: ";"))]"
    }
    if scanner.isNext(UInt8(ascii: "\"")) { return "'\(try scanner.string())'" }
    if try scanner.isNull() { return "null" }
    return "\(try scanner.integer())"
  }

  private func scan(_ text: String) throws(DocumentError) -> String {
    var scanner = JSONScanner(Array(text.utf8)[...])
    let found = try value(&scanner)
    try scanner.finish()
    return found
  }

  @Test(arguments: [
    (#"{"a":1,"b":[true]}"#, nil), (#" { "a" : [ 1 , -2 ] , "b" : { } } "#, "{a=[1;-2];b={}}"),
    (#"["\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud800x"]"#, "['\"\\/\u{8}\u{c}\n\r\té😀\u{fffd}x']"),
    ("null", "null"), ("[]", "[]"), ("[1 2]", nil), ("[1,]", nil), ("{\"a\"}", nil), ("{\"a\":}", nil),
    ("", nil),
    ("\"a", nil), ("\"\\u12\"", nil), ("\"\u{1}\"", nil), ("[1]x", nil), ("99999999999999999999", nil),
    (String(repeating: "[", count: 65), nil),
  ])
  func readsWhatIsJSONAndRefusesTheRest(_ text: String, _ expected: String?) {
    #expect((try? scan(text)) == expected)
  }

  @Test func passesOverAnyValue() throws {
    var scanner = JSONScanner(
      Array(#"{"x":{"y":[1,{"z":"\""},true,false,null,-1.5e3]},"tags":["a"]}"#.utf8)[...]
    )
    try scanner.enterObject()
    #expect(try scanner.nextKey() == "x")
    try scanner.skip()
    #expect(try scanner.nextKey() == "tags")
    try scanner.enterArray()
    #expect(try scanner.nextElement())
    #expect(try scanner.string() == "a")
    #expect(try !scanner.nextElement())
    #expect(try scanner.nextKey() == nil)
    try scanner.finish()
  }

  @Test(arguments: SeededGenerator.seeds(1...200))
  func damagedTextEnds(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var text = Array(#"{"name":"a/b","tags":["v1","v\u0031",null,{"x":[1,2,3]}],"n":12}"#.utf8)
    for _ in 0..<Int.random(in: 1...4, using: &generator) {
      text[Int.random(in: text.indices, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
    }
    var scanner = JSONScanner(text.prefix(Int.random(in: 0...text.count, using: &generator)))
    // It must return or throw; it must neither trap nor loop forever.
    _ = try? scanner.skip()
  }
}
