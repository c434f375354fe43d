import ArtifactTree
import Testing

struct TreePathTests {
  @Test(arguments: ["a", "a/b/c.gguf", "...", "a/..b", "ä/ö"])
  func takesPlainPaths(_ path: String) throws {
    let names = try TreePath.parse(annotation: path)
    #expect(names.map(\.description).joined(separator: "/") == path)
  }

  @Test(arguments: [
    "", "/etc/passwd", "../x", "a/../../b", ".", "./", "..", "a/..", "a\0b",
    String(repeating: "a", count: 256),
    String(repeating: "a/", count: 2500) + "a", String(repeating: "a/", count: 200) + "a",
  ])
  func refusesHostileAnnotations(_ path: String) {
    #expect(throws: PathProblem.self) { try TreePath.parse(annotation: path) }
  }

  @Test(arguments: [
    ("./model.gguf", "model.gguf"), ("a//b/./model.gguf", "a/b/model.gguf"),
    ("x/../model.gguf", "model.gguf"),
    ("a/", "a"),
  ])
  func harmlessSpellingsInAnnotationsMeanTheirPlainPath(_ path: String, _ expected: String) throws {
    let names = try TreePath.parse(annotation: path)
    #expect(names.map(\.description).joined(separator: "/") == expected)
  }

  @Test func tarNamesMayHaveDotsAndSlashesThatMeanNothing() throws {
    #expect(try TreePath.parse(member: Array("./a//b/".utf8)).map(\.description) == ["a", "b"])
    #expect(try TreePath.parse(member: Array("./".utf8)).isEmpty)
    #expect(try TreePath.parse(member: Array("/etc/passwd".utf8)).map(\.description) == ["etc", "passwd"])
    #expect(try TreePath.parse(member: Array("a/../../b".utf8)).map(\.description) == ["b"])
    #expect(try TreePath.parse(member: Array("..".utf8)).isEmpty)
  }

  @Test(arguments: [
    ("c", "a/b", "c"), ("../c", "a/b", "../c"), ("../../c", "a/b", "../../c"), ("/x/y", "a/b", "../../x/y"),
    ("/a/b/c", "a/b", "c"), ("x/../y", "a", "y"), ("s/../../z", "a/b", "../z"), ("/", "a", ".."),
    (".", "a", "."),
    ("/x", "", "x"), ("../../../x", "a/b", "../../x"), ("/../x", "a/b", "../../x"),
    ("a/../../../../x", "a/b", "../../x"), ("../..", "", "."),
  ])
  func linksStayInside(_ target: String, _ folder: String, _ expected: String) throws {
    let place = try TreePath.parse(member: Array(folder.utf8))
    #expect(
      TreePath.linkTarget(Array(target.utf8), in: place).map { String(decoding: $0, as: UTF8.self) }
        == expected
    )
  }

  @Test(arguments: ["", "a\0b", String(repeating: "x", count: 256), String(repeating: "a/", count: 2500)])
  func targetsThatNoLinkCanHaveAreRefused(_ target: String) throws {
    let place = try TreePath.parse(member: Array("a/b".utf8))
    #expect(TreePath.linkTarget(Array(target.utf8), in: place) == nil)
  }
}

struct TimestampTests {
  @Test(arguments: [
    ("1970-01-01T00:00:00Z", 0), ("2026-11-21T10:31:00Z", 1_795_257_060),
    ("2026-11-21T11:31:00.123456789+01:00", 1_795_257_060),
    ("2000-02-29T23:59:59Z", 951_868_799), ("1969-12-31T23:00:00-01:00", 0),
  ])
  func readsRFC3339(_ text: String, _ seconds: Int64) { #expect(Timestamp.seconds(text) == seconds) }

  @Test(arguments: [
    "", "yesterday", "2026-11-21", "2026-13-01T00:00:00Z", "2026-11-21T10:31:00", "2026-11-21T10:31:00+1",
  ])
  func refusesOthers(_ text: String) { #expect(Timestamp.seconds(text) == nil) }
}
