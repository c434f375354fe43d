import Archive
import TestSupport
import Testing

struct ArchiveFormatTests {
  @Test func tarsAreToldByTheirChecksum() {
    var tar = TarMaker()
    tar.add("a/b", content: [1, 2, 3])
    let block = Array(tar.finished.prefix(ArchiveFormat.length))
    #expect(ArchiveFormat(first: block) == .tar)
    // Without the magic, as version 7 writes it: only the checksum identifies the format.
    var old = block
    old.replaceSubrange(257..<265, with: [UInt8](repeating: 0, count: 8))
    #expect(ArchiveFormat(first: old) == nil)
    let sum = old[..<148].reduce(0) { $0 + Int($1) } + 8 * 0x20 + old[156...].reduce(0) { $0 + Int($1) }
    let digits = String(sum, radix: 8)
    let field = String(repeating: "0", count: 6 - digits.count) + digits
    old.replaceSubrange(148..<156, with: Array(field.utf8) + [0, 0x20])
    #expect(ArchiveFormat(first: old) == .tar)
    old[0] ^= 1
    #expect(ArchiveFormat(first: old) == nil)
  }

  @Test(
    arguments: [
      ([0x1f, 0x8b, 8, 0], ArchiveFormat.gzip), ([0x28, 0xb5, 0x2f, 0xfd, 0], .zstd),
      ([0x53, 0x2a, 0x4d, 0x18], .zstd), ([0x53, 0x2a, 0x4d], nil), ([], nil),
      ([0x47, 0x47, 0x55, 0x46], nil),
    ] as [([UInt8], ArchiveFormat?)]
  )
  func compressedStreamsAreToldByTheirMagic(_ first: [UInt8], _ expected: ArchiveFormat?) {
    #expect(ArchiveFormat(first: first) == expected)
  }

  @Test func aBlockOfZerosIsNoTar() {
    #expect(ArchiveFormat(first: [UInt8](repeating: 0, count: 512)) == nil)
    #expect(ArchiveFormat(first: [UInt8](repeating: 0x20, count: 512)) == nil)
  }
}
