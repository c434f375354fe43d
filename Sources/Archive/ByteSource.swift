/// A tar that can be read at any offset.
///
/// Reads may block.
package protocol ByteSource: AnyObject {
  /// Size in bytes.
  var size: Int64 { get }

  /// Reads bytes.
  ///
  /// - Parameters:
  ///   - buffer: Filled from its start.
  ///   - offset: The offset in the source.
  /// - Returns: The number of bytes read; fewer than requested only at the end.
  /// - Throws: `ArchiveError`.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(ArchiveError) -> Int
}
