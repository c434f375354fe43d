/// Where a tar is read from, at any offset.
///
/// The reads may block.
package protocol ByteSource: AnyObject {
  /// Bytes in all.
  var size: Int64 { get }

  /// Reads bytes.
  ///
  /// - Parameters:
  ///   - buffer: filled from its start.
  ///   - offset: in the source.
  /// - Returns: how many were read; less than asked for only at the end.
  /// - Throws: `ArchiveError`.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(ArchiveError) -> Int
}
