import Archive
import ArtifactTree
import Content
import OCI
import TestSupport
import Testing

/// Compares trees with the extraction of layers by containerd, umoci and the image specification.
///
/// The values of the rows come from their test suites.
///
/// An entry is `d:directory`, `f:file=content`, `s:link>target` or `l:hard link>target`; `++` starts the next
/// layer. An expectation is `path=content`, `path==path` for the same file, `path@` for a symbolic link,
/// `path!` for an absent path.
struct ExtractionTests {
  struct Row: Sendable, CustomTestStringConvertible {
    let name: String
    let layers: String
    let expected: String

    init(_ name: String, _ layers: String, _ expected: String) {
      self.name = name
      self.layers = layers
      self.expected = expected
    }

    var testDescription: String { name }
  }

  private func tar(_ entries: Substring) -> [UInt8] {
    var maker = TarMaker()
    for entry in entries.split(separator: ", ") {
      let kind = entry.prefix(1)
      let rest = entry.dropFirst(2)
      switch kind {
      case "d": maker.add(String(rest), type: "5", mode: 0o755)
      case "f":
        let parts = rest.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        maker.add(String(parts[0]), content: Array(parts[1].utf8))
      default:
        let parts = rest.split(separator: ">", maxSplits: 1, omittingEmptySubsequences: false)
        maker.add(String(parts[0]), type: kind == "s" ? "2" : "1", target: String(parts[1]))
      }
    }
    return maker.finished
  }

  private func content(_ tree: FileTree, _ path: some StringProtocol, _ layers: MemoryLayers) -> String? {
    guard let node = tree.resolve(String(path)), case .file(let content) = tree.nodes[node].kind,
      let bytes = layers.contents[content.blob.digest]
    else { return nil }
    return String(decoding: bytes[Int(content.offset)...].prefix(Int(content.size)), as: UTF8.self)
  }

  @Test(arguments: rows)
  func layersAreExtractedAsOthersDo(_ row: Row) async throws {
    var bytes = MemoryLayers()
    let layers = row.layers.split(separator: " ++ ").map { entries in
      let tar = tar(entries)
      let digest = Verification.digest(of: tar)
      bytes.contents[digest] = tar
      return Descriptor(
        mediaType: MediaType(rawValue: "application/vnd.oci.image.layer.v1.tar"),
        digest: digest,
        size: Int64(tar.count)
      )
    }
    let config = Descriptor(mediaType: .imageConfig, digest: Verification.digest(of: []), size: 0)
    let loader = TreeLoader.fresh()
    let tree = try await loader.load(Manifest(config: config, layers: layers), bytes: bytes)
    for expectation in row.expected.split(separator: ", ") {
      if let same = expectation.firstRange(of: "==") {
        let left = tree.resolve(String(expectation[..<same.lowerBound]))
        let right = tree.resolve(String(expectation[same.upperBound...]))
        func file(_ node: Int?) -> FileContent? {
          guard let node, case .file(let content) = tree.nodes[node].kind else { return nil }
          return content
        }
        #expect(file(left) != nil && file(left) == file(right), "\(expectation) \(tree.problems)")
      } else if let mark = expectation.firstIndex(of: "=") {
        let found = content(tree, expectation[..<mark], bytes)
        #expect(
          found == String(expectation[expectation.index(after: mark)...]),
          "\(expectation) \(tree.problems)"
        )
      } else if expectation.hasSuffix("@") {
        let node = tree.node(at: String(expectation.dropLast()))
        var isLink = false
        if let node, case .symbolicLink = tree.nodes[node].kind { isLink = true }
        #expect(isLink, "\(expectation) \(tree.problems)")
      } else {
        #expect(tree.node(at: String(expectation.dropLast())) == nil, "\(expectation)")
      }
    }
  }

  private static let rows: [Row] = [
    Row(
      "containerd breakouts: SymlinkAbsolute",
      "d:etc, s:localetc>/etc, f:/localetc/unbroken=unbroken",
      "etc/unbroken=unbroken"
    ),
    Row(
      "containerd breakouts: SymlinkUpAndOut",
      "d:etc, d:dummy, s:localetc>/dummy/../etc, f:/localetc/unbroken=unbroken",
      "etc/unbroken=unbroken"
    ),
    Row(
      "containerd breakouts: SymlinkMultipleAbsolute",
      "d:etc, d:dummy, s:/dummy/etc>/etc, s:localetc>/dummy/etc, f:/dummy/etc/unbroken=unbroken",
      "etc/unbroken=unbroken"
    ),
    Row(
      "containerd breakouts: SymlinkMultipleRelative",
      "d:etc, d:dummy, s:/dummy/etc>/etc, s:localetc>./dummy/etc, f:/dummy/etc/unbroken=unbroken",
      "etc/unbroken=unbroken"
    ),
    Row(
      "containerd breakouts: SymlinkEmptyFile",
      "d:etc, f:etc/emptied=notempty, s:localetc>/etc, f:/localetc/emptied=",
      "etc/emptied="
    ),
    Row(
      "containerd breakouts: HardlinkRelative",
      "d:etc, f:/etc/passwd=inside, d:breakouts, s:breakouts/d1>../../etc, l:breakouts/mypasswd>/breakouts/d1/passwd",
      "breakouts/mypasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: HardlinkDownAndOut",
      "d:etc, f:/etc/passwd=inside, d:breakouts, d:downandout, s:breakouts/d1>../downandout/../../etc, l:breakouts/mypasswd>/breakouts/d1/passwd",
      "breakouts/mypasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: HardlinkAbsolute",
      "d:etc, f:/etc/passwd=inside, s:localetc>/etc, l:localpasswd>/localetc/passwd",
      "localpasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: HardlinkRelativeLong",
      "d:etc, f:/etc/passwd=inside, s:localetc>../../../../../../../etc, l:localpasswd>/localetc/passwd",
      "localpasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: HardlinkRelativeUpAndOut",
      "d:etc, f:/etc/passwd=inside, s:localetc>upandout/../../../etc, l:localpasswd>/localetc/passwd",
      "localpasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: HardlinkDirectRelative",
      "d:etc, f:/etc/passwd=inside, l:localpasswd>../../../../../etc/passwd",
      "localpasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: HardlinkDirectAbsolute",
      "d:etc, f:/etc/passwd=inside, l:localpasswd>/etc/passwd",
      "localpasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: SymlinkParentDirectory",
      "d:etc, f:/etc/passwd=inside, s:..>/etc/, l:localpasswd>/etc/passwd",
      "localpasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: SymlinkEmptyFilename",
      "d:etc, f:/etc/passwd=inside, s:>/etc/, l:localpasswd>/etc/passwd",
      "localpasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: SymlinkParentRelative",
      "d:etc, f:/etc/passwd=inside, s:localetc/sub/..>/etc/, l:/localetc/localpasswd>/etc/passwd",
      "localetc/localpasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: SymlinkSlashEnded",
      "d:etc, f:/etc/passwd=inside, d:localetc/, l:/localetc/localpasswd>/etc/passwd",
      "localetc/localpasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: SymlinkOverrideDirectory",
      "d:etc, f:etc/passwd=inside, d:localetc ++ s:localetc>/etc, l:/localetc/localpasswd>/etc/passwd",
      "localetc/localpasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: SymlinkOverrideDirectoryRelative",
      "d:etc, f:etc/passwd=inside, d:localetc ++ s:localetc>../../etc, l:/localetc/localpasswd>/etc/passwd",
      "localetc/localpasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: DirectoryOverrideSymlink",
      "d:etc, f:etc/passwd=inside, s:localetc>/etc ++ d:/localetc/, l:/localetc/localpasswd>/etc/passwd",
      "localetc/localpasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: DirectoryOverrideSymlinkAndHardlink",
      "d:etc, f:etc/passwd=inside, s:localetc>etc, l:etc/localpasswd>etc/passwd ++ d:/localetc/, f:/localetc/localpasswd=different",
      "localetc/localpasswd=different"
    ),
    Row(
      "containerd breakouts: WhiteoutSymlinkPath",
      "d:etc, f:etc/passwd=all users, f:etc/whitedout=ahhhh whiteout, s:localetc>/etc ++ f:localetc/.wh.whitedout=",
      "etc/whitedout!"
    ),
    Row(
      "containerd breakouts: WhiteoutRelativePath",
      "d:etc, f:etc/passwd=all users, s:localetc>/dne ++ f:dne/../.wh.etc=",
      "etc/passwd!"
    ),
    Row(
      "containerd breakouts: HardlinkSymlinkBeforeCreateTarget",
      "d:etc, s:localpasswd>/etc/passwd, l:localpasswd-dup>localpasswd, f:/etc/passwd=after",
      "localpasswd-dup==etc/passwd"
    ),
    Row(
      "containerd breakouts: HardlinkSymlinkRelative",
      "d:etc, f:/etc/passwd=inside, s:passwdlink>../../../../../etc/passwd, l:localpasswd>/passwdlink",
      "localpasswd@, localpasswd==etc/passwd"
    ),
    Row(
      "containerd breakouts: HardlinkSymlinkAbsolute",
      "d:etc, f:/etc/passwd=inside, s:passwdlink>/etc/passwd, l:localpasswd>/passwdlink",
      "localpasswd@, localpasswd==etc/passwd"
    ),
    Row(
      "containerd relative symlinks: home/derek/breakout -> ../../../breakout",
      "d:etc/, f:etc/hosts=127.0.0.1 localhost, l:etc/hosts.allow>etc/hosts, d:usr/local/lib, f:usr/local/lib/libnothing.so=xx, s:usr/local/lib/libnothing.so.2>libnothing.so, d:home, d:home/derek, s:home/derek/breakout>../../../breakout",
      "home/derek/breakout@"
    ),
    Row(
      "containerd relative symlinks: breakout -> ../../breakout",
      "d:etc/, f:etc/hosts=127.0.0.1 localhost, l:etc/hosts.allow>etc/hosts, d:usr/local/lib, f:usr/local/lib/libnothing.so=xx, s:usr/local/lib/libnothing.so.2>libnothing.so, d:home, d:home/derek, s:breakout>../../breakout",
      "breakout@"
    ),
    Row(
      "containerd relative symlinks: breakout2 -> etc/../../upandout",
      "d:etc/, f:etc/hosts=127.0.0.1 localhost, l:etc/hosts.allow>etc/hosts, d:usr/local/lib, f:usr/local/lib/libnothing.so=xx, s:usr/local/lib/libnothing.so.2>libnothing.so, d:home, d:home/derek, s:breakout2>etc/../../upandout",
      "breakout2@"
    ),
    Row(
      "containerd relative symlinks: home/breakout -> derek/../../../downandout",
      "d:etc/, f:etc/hosts=127.0.0.1 localhost, l:etc/hosts.allow>etc/hosts, d:usr/local/lib, f:usr/local/lib/libnothing.so=xx, s:usr/local/lib/libnothing.so.2>libnothing.so, d:home, d:home/derek, s:home/breakout>derek/../../../downandout",
      "home/breakout@"
    ),
    Row("umoci sanitise: GarbagePrefix", "f:/../file=c", "file=c"),
    Row("umoci sanitise: DotDotPrefix", "f:../file=c", "file=c"),
    Row("umoci sanitise: symlink RootPrefix", "s:link>/ ++ f:link/file=c", "file=c"),
    Row("umoci sanitise: symlink GarbagePrefix1", "s:link>/../ ++ f:link/file=c", "file=c"),
    Row(
      "umoci sanitise: symlink GarbagePrefix2",
      "s:link>/../../../../../../../../../../../../../../../ ++ f:link/file=c",
      "file=c"
    ),
    Row(
      "umoci sanitise: symlink GarbagePrefix3",
      "s:link>/./.././.././.././.././.././.././.././.././.././../ ++ f:link/file=c",
      "file=c"
    ),
    Row("umoci sanitise: symlink DotDotPrefix", "s:link>.. ++ f:link/file=c", "file=c"),
    Row("umoci sanitise: NonDirParent", "f:nondir=x, f:nondir/foo/bar/baz=y", "nondir/foo/bar/baz=y"),
    Row(
      "umoci opaque: TwoLevel marker last",
      "d:test-subdir, s:test-subdir/link>.., s:test-subdir/badlink>./nothing, s:test-subdir/dir/link>../badlink, s:test-subdir/dir/verybadlink2>/../../../../../../../../../../../../etc/shadow ++ f:test-subdir/file=d, d:test-subdir/dir, f:test-subdir/dir/file=d, s:test-subdir/dir/verybadlink>../../../../../../../../../../../../etc/shadow, f:test-subdir/.wh..wh..opq=",
      "test-subdir/dir/verybadlink@"
    ),
    Row(
      "umoci opaque: TwoLevel marker first",
      "d:test-subdir, s:test-subdir/link>.., s:test-subdir/badlink>./nothing, s:test-subdir/dir/link>../badlink, s:test-subdir/dir/verybadlink2>/../../../../../../../../../../../../etc/shadow ++ f:test-subdir/.wh..wh..opq=, f:test-subdir/file=d, d:test-subdir/dir, f:test-subdir/dir/file=d, s:test-subdir/dir/verybadlink>../../../../../../../../../../../../etc/shadow",
      "test-subdir/dir/verybadlink@"
    ),
    Row(
      "umoci opaque: MultiLevel marker last",
      "d:test-subdir, s:test-subdir/level1_link>.., f:test-subdir/level1a/level2_file=d, d:test-subdir/level1a/level2a, f:test-subdir/level1a/level2a/level3_fileA=d, f:test-subdir/level1a/level2a/level3_fileB=d, f:test-subdir/level1a/level2b/level3_fileB=d, d:test-subdir/level1a/level2b/level3, d:test-subdir/level1a/level2b/level3/level4, d:test-subdir/level1b, f:test-subdir/level1b/level2_fileA=d, d:test-subdir/level1b/level2, f:test-subdir/level1b/level2/level3_file=d ++ f:test-subdir/level1_file=d, d:test-subdir/level1a, s:test-subdir/level1a/level2_link>../../../, d:test-subdir/level1a/level2b, f:test-subdir/level1a/level2b/level3_fileA=d, f:test-subdir/.wh..wh..opq=",
      "test-subdir/level1a/level2_link@"
    ),
    Row(
      "umoci opaque: MultiLevel marker first",
      "d:test-subdir, s:test-subdir/level1_link>.., f:test-subdir/level1a/level2_file=d, d:test-subdir/level1a/level2a, f:test-subdir/level1a/level2a/level3_fileA=d, f:test-subdir/level1a/level2a/level3_fileB=d, f:test-subdir/level1a/level2b/level3_fileB=d, d:test-subdir/level1a/level2b/level3, d:test-subdir/level1a/level2b/level3/level4, d:test-subdir/level1b, f:test-subdir/level1b/level2_fileA=d, d:test-subdir/level1b/level2, f:test-subdir/level1b/level2/level3_file=d ++ f:test-subdir/.wh..wh..opq=, f:test-subdir/level1_file=d, d:test-subdir/level1a, s:test-subdir/level1a/level2_link>../../../, d:test-subdir/level1a/level2b, f:test-subdir/level1a/level2b/level3_fileA=d",
      "test-subdir/level1a/level2_link@"
    ),
    Row(
      "umoci opaque: UpperDirWhiteout marker last",
      "d:test-subdir, f:test-subdir/file=d, s:test-subdir/dir1/link>../badlink, s:test-subdir/dir1/verybadlink2>/../../../../../../../../../../../../etc/shadow, s:test-subdir/dir2/link>../badlink ++ f:test-subdir/.wh.dir2=d, d:test-subdir/dir1, f:test-subdir/dir1/file=d, s:test-subdir/dir1/verybadlink>../../../../../../../../../../../../etc/shadow, f:test-subdir/.wh.dir1=d, d:test-subdir/dir2, f:test-subdir/dir2/file=d, f:test-subdir/.wh..wh..opq=",
      "test-subdir/dir1/verybadlink@"
    ),
    Row(
      "umoci opaque: UpperDirWhiteout marker first",
      "d:test-subdir, f:test-subdir/file=d, s:test-subdir/dir1/link>../badlink, s:test-subdir/dir1/verybadlink2>/../../../../../../../../../../../../etc/shadow, s:test-subdir/dir2/link>../badlink ++ f:test-subdir/.wh..wh..opq=, f:test-subdir/.wh.dir2=d, d:test-subdir/dir1, f:test-subdir/dir1/file=d, s:test-subdir/dir1/verybadlink>../../../../../../../../../../../../etc/shadow, f:test-subdir/.wh.dir1=d, d:test-subdir/dir2, f:test-subdir/dir2/file=d",
      "test-subdir/dir1/verybadlink@"
    ),
    Row(
      "umoci hardlink: regular, absolute target",
      "f:regular=v, l:hard link>/regular",
      "hard link==regular"
    ),
    Row(
      "umoci hardlink: hard link to symlink",
      "f:regular=v, s:link>../../../regular, l:hard link to symlink>../../../link",
      "hard link to symlink@, hard link to symlink==regular"
    ),
    Row(
      "umoci hardlink: hard link to symlink, plain",
      "f:regular=v, s:link>regular, l:hard2>link",
      "hard2@, hard2==regular"
    ),
    Row(
      "image-spec layer.md: file below a link of a lower layer",
      "d:real, s:alias>real, f:real/a=1 ++ f:alias/b=2",
      "real/b=2, alias/a=1"
    ),
    Row("names: inner dotdot", "f:a/x/../b=v", "a/b=v"),
    Row("names: leading slash", "f:/a/b=v", "a/b=v"),
    Row("names: many slashes", "f:///a/b=v", "a/b=v"),
  ]

  @Test func linksCannotMakeATreeDeepOrLookUpsDear() async throws {
    // Each link leads 500 directories below the previous one: forty of them would be 20,000 levels deep.
    var maker = TarMaker()
    var link = "l0"
    maker.add(link, type: "2", target: Array(repeating: "a", count: 500).joined(separator: "/"))
    for number in 1..<40 {
      let target = link + "/" + Array(repeating: "b", count: 500).joined(separator: "/")
      link = "l\(number)"
      maker.add(link, type: "2", target: target)
    }
    for number in 0..<200 { maker.add("\(link)/f\(number)") }
    let start = ContinuousClock.now
    let bytes = maker.finished
    let layer = Descriptor(
      mediaType: MediaType(rawValue: "application/vnd.oci.image.layer.v1.tar"),
      digest: Verification.digest(of: bytes),
      size: Int64(bytes.count)
    )
    let config = Descriptor(mediaType: .imageConfig, digest: Verification.digest(of: []), size: 0)
    let loader = TreeLoader.fresh()
    let tree = try await loader.load(
      Manifest(config: config, layers: [layer]),
      bytes: MemoryLayers(contents: [layer.digest: bytes])
    )
    #expect(tree.problems.contains { $0.contains("too deep") })
    #expect(ContinuousClock.now - start < .seconds(120), "0.4 s on an idle machine")
  }
}
