import Artifacts
import Configuration
import Layouts
import OCI
import SystemPackage
import Testing
@testable import weightfs

/// Values of options and arguments, as users write them.
struct OptionValueTests {
  @Test(
    arguments: [
      ("0", 0), ("1", 1), ("1k", 1024), ("512K", 512 << 10), ("10M", 10 << 20), ("10MiB", 10 << 20),
      ("20g", 20 << 30), ("1.5TiB", 3 << 39), ("2P", 2 << 50), ("7B", 7),
    ] as [(String, Int64)]
  )
  func aSizeIsReadWithItsUnit(_ text: String, _ bytes: Int64) {
    #expect(ByteCount(argument: text)?.bytes == bytes)
  }

  @Test(arguments: [
    "", "x", "-1", "1X", "1MBB", "BB", "1kibb", "1.2.3", "K", "9999P", "0x10", "1e3", "nan", "inf", "1 G",
    "GiB",
  ])
  func aTextThatIsNoSizeIsRefused(_ text: String) { #expect(ByteCount(argument: text) == nil) }

  @Test(arguments: [0, 1, 1023, 1024, 1 << 20, 3 << 30, 5 << 40, 12_345] as [Int64])
  func aSizeIsShownAsTheOptionThatGivesIt(_ bytes: Int64) {
    #expect(ByteCount(argument: "\(ByteCount(bytes: bytes))")?.bytes == bytes)
  }

  @Test func aShareIsBytesOrAPercentageOfTheDisk() {
    #expect(DiskShare(argument: "5%") == .percent(5))
    #expect(DiskShare(argument: "20G") == .bytes(20 << 30))
    #expect(DiskShare(argument: "12.5%")?.bytes(of: 1000) == 125)
    #expect(DiskShare(argument: "100%")?.bytes(of: 1000) == 1000)
    #expect(DiskShare(argument: "5%")?.bytes(of: nil) == 0, "nothing of a disk of unknown size")
    for text in ["", "%", "101%", "-1%", "1e1%", "0x5%", "nan%", "5%%", "+5%"] {
      #expect(DiskShare(argument: text) == nil, "\(text)")
    }
    #expect(DiskShare.percent(0).isBelow(1) && !DiskShare.percent(1).isBelow(1 << 20))
  }

  @Test(
    arguments: [
      ("/", "/"), ("/a/b", "/a/b"), ("/a//b/", "/a/b"), ("/a/./b", "/a/b"), ("/a/../b", "/b"),
      ("/../a", "/a"),
    ] as [(String, String)]
  )
  func aPathBecomesAbsoluteWithoutALookAtIt(_ path: String, _ expected: String) {
    #expect(AbsolutePath.of(path) == expected)
  }

  @Test func aRelativePathIsBelowTheWorkingDirectory() {
    #expect(AbsolutePath.of("x").hasPrefix("/") && AbsolutePath.of("x").hasSuffix("/x"))
  }

  @Test func anArtifactIsAReferenceALayoutOrAnArchive() throws {
    #expect(try ArtifactSource(parsing: "oci:/a/b") == .layout(.directory, "/a/b", .only))
    #expect(try ArtifactSource(parsing: "oci:b:v1") == .layout(.directory, "b", .named(.tag("v1"))))
    #expect(try ArtifactSource(parsing: "oci-archive:m.tar:@2") == .layout(.archive, "m.tar", .number(2)))
    let reference = try Reference(parsing: "ghcr.io/a/b:t")
    #expect(try ArtifactSource(parsing: "ghcr.io/a/b:t") == .reference(reference))
    #expect(try ArtifactSource(parsing: "oci://ghcr.io/a/b:t") == .reference(reference))
    for text in ["oci:", "oci:a:", "oci-archive::t", "", "a/UPPER:t"] {
      #expect(throws: DocumentError.self, "\(text)") { try ArtifactSource(parsing: text) }
    }
  }
}
