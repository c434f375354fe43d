import CArchive
import Glibc

/// The members of an uncompressed tar, found by reading only its headers.
package struct TarIndex: Sendable {
  /// The maximum number of members of a tar; a model has at most thousands.
  package static let maximumMembers = 1_000_000

  // Maximum total size of names and link targets in bytes.
  private static let maximumNameBytes = 64 << 20

  /// The members in the order of the tar.
  package let members: Members

  /// Creates an index of known members.
  ///
  /// - Parameter members: In the order of the tar.
  package init(members: [TarMember]) {
    var stored = Members()
    for member in members { stored.append(member) }
    self.members = stored
  }

  /// The members, stored in one array of numbers and one of names: about 48 bytes per member besides its
  /// name.
  package struct Members: Sendable, RandomAccessCollection {
    private enum Kind: UInt8 {
      case file, directory, symbolicLink, hardLink, other
    }

    private struct Entry {
      var dataOffset: Int64
      var size: Int64
      var modificationTime: Int64
      /// The start of the name; the target of a link follows the name.
      var nameStart: UInt32
      var nameCount: UInt32
      var targetCount: UInt32
      var mode: UInt16
      var kind: Kind
      var isSparse: Bool
    }

    private var entries: [Entry] = []
    private var names: [UInt8] = []

    package var startIndex: Int { 0 }
    package var endIndex: Int { entries.count }

    /// Memory of the index in bytes.
    package var memory: Int { entries.count * MemoryLayout<Entry>.stride + names.count }

    package subscript(index: Int) -> TarMember {
      let entry = entries[index]
      let start = Int(entry.nameStart)
      let end = start + Int(entry.nameCount)
      func target() -> [UInt8] { Array(names[end..<end + Int(entry.targetCount)]) }
      let kind: TarMember.Kind =
        switch entry.kind {
        case .file: .file
        case .directory: .directory
        case .symbolicLink: .symbolicLink(target: target())
        case .hardLink: .hardLink(target: target())
        case .other: .other
        }
      return TarMember(
        name: Array(names[start..<end]),
        kind: kind,
        size: entry.size,
        dataOffset: entry.dataOffset,
        mode: UInt32(entry.mode),
        modificationTime: entry.modificationTime,
        isSparse: entry.isSparse
      )
    }

    mutating func append(_ member: TarMember) {
      let start = names.count
      names += member.name
      let (kind, target): (Kind, [UInt8]) =
        switch member.kind {
        case .file: (.file, [])
        case .directory: (.directory, [])
        case .symbolicLink(let target): (.symbolicLink, target)
        case .hardLink(let target): (.hardLink, target)
        case .other: (.other, [])
        }
      names += target
      entries.append(
        Entry(
          dataOffset: member.dataOffset,
          size: member.size,
          modificationTime: member.modificationTime,
          nameStart: UInt32(start),
          nameCount: UInt32(member.name.count),
          targetCount: UInt32(target.count),
          mode: UInt16(truncatingIfNeeded: member.mode & 0o7777),
          kind: kind,
          isSparse: member.isSparse
        )
      )
    }

    /// Returns the same members with converted data offsets.
    func moved(_ place: (Int64) -> Int64) -> Members {
      var result = self
      for index in entries.indices { result.entries[index].dataOffset = place(entries[index].dataOffset) }
      return result
    }

    /// Whether the last member is a file whose data ends at the end of the tar.
    func ends(at size: Int64) -> Bool {
      guard let last = entries.last else { return false }
      return last.kind == .file && !last.isSparse && last.dataOffset + last.size == size
    }
  }

  /// Reads the headers and skips the data between them.
  ///
  /// - Parameter source: The tar, read in small pieces.
  /// - Throws: `ArchiveError` if the tar is damaged, or a member extends past its end.
  package init(reading source: any ByteSource) throws(ArchiveError) {
    var current = source
    // In the order in which they were found: the base of each is the previous one.
    var trimmed: [TrimmedHeader] = []
    while true {
      var reading = Reading()
      do throws(ArchiveError) {
        try reading.read(current)
        members = reading.members.moved { offset in
          trimmed.reversed().reduce(offset) { $1.offsetInBase($0) }
        }
        return
      } catch {
        // libarchive refuses a PAX header that is too long; such a header follows the last member that it
        // returned.
        guard trimmed.count < Self.mostTrimmed, let end = reading.end,
          let header = try TrimmedHeader(current, before: end)
        else { throw error }
        trimmed.append(header)
        current = header
      }
    }
  }

  // Maximum number; each one requires reading the headers again from the start.
  private static let mostTrimmed = 16

  /// One pass of libarchive over a tar.
  private struct Reading {
    var members = Members()
    private var nameBytes = 0
    /// The start of the headers of the first member that was not returned; nil if unknown.
    private(set) var end: Int64? = 0

    mutating func read(_ source: any ByteSource) throws(ArchiveError) {
      guard let archive = archive_read_new() else { throw ArchiveError(reason: "out of memory") }
      let cursor = TarCursor(source: source)
      defer { archive_read_free(archive) }
      archive_read_support_format_tar(archive)
      archive_read_support_format_empty(archive)
      // SAFETY: the cursor outlives the archive, as both are freed at the end of this function.
      archive_read_set_callback_data(archive, Unmanaged.passUnretained(cursor).toOpaque())
      archive_read_set_read_callback(archive, readBlock)
      archive_read_set_skip_callback(archive, skipForward)
      archive_read_set_seek_callback(archive, seekTo)
      guard archive_read_open1(archive) == ARCHIVE_OK else { throw TarIndex.error(archive, cursor) }
      var entry: OpaquePointer?
      while true {
        let result = archive_read_next_header(archive, &entry)
        if result == ARCHIVE_EOF { break }
        // A warning concerns the name in the C locale; the raw bytes are right.
        guard result == ARCHIVE_OK || result == ARCHIVE_WARN, let entry else {
          // Some writers omit the padding after the last member, although all of its data is present.
          if cursor.error == nil, members.ends(at: source.size) { break }
          if cursor.error != nil { end = nil }
          throw TarIndex.error(archive, cursor)
        }
        try add(TarIndex.member(entry, dataOffset: archive_filter_bytes(archive, 0), cursor), source)
      }
      withExtendedLifetime(cursor) {}
    }

    private mutating func add(_ member: TarMember, _ source: any ByteSource) throws(ArchiveError) {
      end = nil
      guard members.count < TarIndex.maximumMembers else {
        throw ArchiveError(reason: "more than \(TarIndex.maximumMembers) members")
      }
      if member.kind == .file, !member.isSparse {
        let (dataEnd, overflow) = member.dataOffset.addingReportingOverflow(member.size)
        guard member.size >= 0, !overflow, dataEnd <= source.size else {
          throw ArchiveError(
            reason: "'\(String(decoding: member.name, as: UTF8.self))' says it has \(member.size) bytes, "
              + "but the archive ends before that"
          )
        }
      }
      nameBytes += member.nameBytes
      guard nameBytes <= TarIndex.maximumNameBytes else {
        throw ArchiveError(reason: "the names have more than \(TarIndex.maximumNameBytes) bytes")
      }
      members.append(member)
      let size = member.kind == .file ? member.size : 0
      if !member.isSparse { end = member.dataOffset + (size + 511) / 512 * 512 }
    }
  }

  private static func member(
    _ entry: OpaquePointer,
    dataOffset: Int64,
    _ cursor: TarCursor
  ) throws(ArchiveError) -> TarMember {
    let kind: TarMember.Kind =
      if let target = archive_entry_hardlink(entry) {
        .hardLink(target: bytes(target))
      } else {
        switch archive_entry_filetype(entry) & S_IFMT {
        case S_IFREG: .file
        case S_IFDIR: .directory
        case S_IFLNK: .symbolicLink(target: archive_entry_symlink(entry).map(bytes) ?? [])
        default: .other
        }
      }
    let isSparse = archive_entry_sparse_reset(entry) > 0
    let header = try cursor.block(before: dataOffset)
    var size = archive_entry_size(entry)
    // Some writers leave garbage in GNU's field for the expanded size; only a sparse member has one.
    if let header, header.hasExpandedSize, !header.isSparse, !isSparse, let own = header.size { size = own }
    var permissions = UInt32(archive_entry_perm(entry))
    // With an ACL, libarchive takes the group bits from the entry of the group; the header has those of the
    // mask.
    if !isSparse, archive_entry_acl_types(entry) != 0, let own = header?.permissions { permissions = own }
    return TarMember(
      name: archive_entry_pathname(entry).map(bytes) ?? [],
      kind: kind,
      size: size,
      dataOffset: dataOffset,
      mode: permissions,
      modificationTime: Int64(archive_entry_mtime(entry)),
      isSparse: isSparse
    )
  }

  private static func bytes(_ text: UnsafePointer<CChar>) -> [UInt8] {
    Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
  }

  private static func error(_ archive: OpaquePointer, _ cursor: TarCursor) -> ArchiveError {
    if let error = cursor.error { return error }
    return ArchiveError(
      reason: archive_error_string(archive).map { String(cString: $0) } ?? "not a tar archive"
    )
  }
}

/// The read position of libarchive in a source.
private final class TarCursor {
  // Bytes. Headers have 512 bytes; a larger block would fetch data that is not needed.
  static let blockSize = 4096

  let source: any ByteSource
  let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: blockSize, alignment: 16)
  var position: Int64 = 0
  /// Number of buffered bytes, which end at `position`.
  var filled = 0
  var error: ArchiveError?

  /// Returns the header block that ends at the start of a member's data, usually from the buffer; nil if
  /// there is no space for a block.
  ///
  /// - Parameter offset: The offset of the data.
  func block(before offset: Int64) throws(ArchiveError) -> TarHeaderBlock? {
    let start = offset - Int64(TarHeaderBlock.length)
    guard start >= 0, offset <= source.size else { return nil }
    let first = position - Int64(filled)
    if start >= first, offset <= position {
      let slice = buffer[Int(start - first)..<Int(offset - first)]
      return TarHeaderBlock(Array(slice))
    }
    let part = UnsafeMutableRawBufferPointer.allocate(byteCount: TarHeaderBlock.length, alignment: 16)
    defer { part.deallocate() }
    let count = try source.read(into: part, at: start)
    return TarHeaderBlock(Array(part[..<count]))
  }

  init(source: any ByteSource) { self.source = source }

  deinit { buffer.deallocate() }
}

private func cursor(_ user: UnsafeMutableRawPointer?) -> TarCursor? {
  // SAFETY: set by TarIndex, whose initializer holds the cursor.
  user.map { Unmanaged<TarCursor>.fromOpaque($0).takeUnretainedValue() }
}

private func readBlock(
  _ archive: OpaquePointer?,
  _ user: UnsafeMutableRawPointer?,
  _ block: UnsafeMutablePointer<UnsafeRawPointer?>?
) -> la_ssize_t {
  guard let cursor = cursor(user) else { return -1 }
  do throws(ArchiveError) {
    let count = try cursor.source.read(into: cursor.buffer, at: cursor.position)
    cursor.position += Int64(count)
    cursor.filled = count
    block?.pointee = UnsafeRawPointer(cursor.buffer.baseAddress)
    return count
  } catch {
    cursor.error = error
    return -1
  }
}

private func skipForward(
  _ archive: OpaquePointer?,
  _ user: UnsafeMutableRawPointer?,
  _ count: la_int64_t
) -> la_int64_t {
  guard let cursor = cursor(user), count > 0 else { return 0 }
  let step = min(count, max(0, cursor.source.size - cursor.position))
  cursor.position += step
  cursor.filled = 0
  return step
}

private func seekTo(
  _ archive: OpaquePointer?,
  _ user: UnsafeMutableRawPointer?,
  _ offset: la_int64_t,
  _ whence: Int32
) -> la_int64_t {
  guard let cursor = cursor(user) else { return -1 }
  let base: Int64 =
    switch whence {
    case SEEK_CUR: cursor.position
    case SEEK_END: cursor.source.size
    default: 0
    }
  cursor.position = min(max(0, base + offset), cursor.source.size)
  cursor.filled = 0
  return cursor.position
}
