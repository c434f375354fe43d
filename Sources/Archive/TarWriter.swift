import CArchive
import Glibc

/// Writes a tar in one pass, with regular files only; the headers contain nothing that differs between runs.
///
/// The format is ustar, with a PAX header for members whose size or name does not fit (pax(1); "restricted"
/// in libarchive).
package final class TarWriter {
  // Bytes passed to the sink at once, so that members of gigabytes are not written in pieces of 10 KiB.
  private static let blockSize: Int32 = 1 << 20
  // The end is padded to the usual record size of tar, independent of the block size.
  private static let recordSize: Int32 = 10_240

  private let archive: OpaquePointer
  private let output: TarOutput

  /// Starts an archive.
  ///
  /// - Parameter write: Receives the bytes in order; returns false to stop.
  /// - Throws: `ArchiveError`.
  package init(_ write: @escaping (UnsafeRawBufferPointer) -> Bool) throws(ArchiveError) {
    guard let archive = archive_write_new() else { throw ArchiveError(reason: "out of memory") }
    self.archive = archive
    output = TarOutput(write: write)
    archive_write_set_format_pax_restricted(archive)
    archive_write_set_bytes_per_block(archive, Self.blockSize)
    archive_write_set_bytes_in_last_block(archive, Self.recordSize)
    // SAFETY: the output lives as long as this object, which frees the archive.
    let user = Unmanaged.passUnretained(output).toOpaque()
    guard archive_write_open(archive, user, nil, takeBlock, nil) == ARCHIVE_OK else { throw failure }
  }

  deinit { archive_write_free(archive) }

  /// Begins a member; the caller must then write exactly `size` bytes.
  ///
  /// - Parameters:
  ///   - name: The path in the archive.
  ///   - size: The size in bytes.
  /// - Throws: `ArchiveError`.
  package func begin(_ name: String, size: Int64) throws(ArchiveError) {
    guard let entry = archive_entry_new() else { throw ArchiveError(reason: "out of memory") }
    defer { archive_entry_free(entry) }
    archive_entry_set_pathname(entry, name)
    archive_entry_set_size(entry, size)
    archive_entry_set_filetype(entry, UInt32(Glibc.S_IFREG))
    archive_entry_set_perm(entry, 0o644)
    archive_entry_set_mtime(entry, 0, 0)
    guard archive_write_header(archive, entry) == ARCHIVE_OK else { throw failure }
  }

  /// Writes bytes of the current member.
  ///
  /// - Parameter bytes: The next bytes.
  /// - Throws: `ArchiveError`.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(ArchiveError) {
    var done = 0
    while done < bytes.count {
      let count = archive_write_data(archive, bytes.baseAddress.map { $0 + done }, bytes.count - done)
      guard count > 0 else { throw failure }
      done += count
    }
  }

  /// Ends the archive.
  ///
  /// - Throws: `ArchiveError`.
  package func finish() throws(ArchiveError) {
    guard archive_write_close(archive) == ARCHIVE_OK else { throw failure }
  }

  private var failure: ArchiveError {
    ArchiveError(reason: archive_error_string(archive).map { String(cString: $0) } ?? "the output was closed")
  }
}

private final class TarOutput {
  let write: (UnsafeRawBufferPointer) -> Bool

  init(write: @escaping (UnsafeRawBufferPointer) -> Bool) { self.write = write }
}

private func takeBlock(
  _ archive: OpaquePointer?,
  _ user: UnsafeMutableRawPointer?,
  _ bytes: UnsafeRawPointer?,
  _ count: Int
) -> la_ssize_t {
  guard let user else { return -1 }
  // SAFETY: set by TarWriter, which holds the output.
  let output = Unmanaged<TarOutput>.fromOpaque(user).takeUnretainedValue()
  return output.write(UnsafeRawBufferPointer(start: bytes, count: count)) ? count : -1
}
