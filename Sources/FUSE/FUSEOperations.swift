/// The operations of a file system.
///
/// Called concurrently on the session's threads; the calls must not block.
package protocol FUSEOperations: AnyObject, Sendable {
  /// Reports that the mount is ready.
  ///
  /// - Parameter hasPassthrough: Whether the kernel supports passthrough.
  func started(hasPassthrough: Bool)
  /// Looks up a name.
  func lookUp(_ name: [UInt8], in parent: UInt64, _ request: consuming FUSERequest)
  /// Subtracts look-ups.
  func forget(_ node: UInt64, _ count: UInt64)
  /// Returns the attributes of a node.
  func attributes(of node: UInt64, _ request: consuming FUSERequest)
  /// Returns the target of a symbolic link.
  func readLink(_ node: UInt64, _ request: consuming FUSERequest)
  /// Opens a file.
  func open(_ node: UInt64, flags: Int32, _ request: consuming FUSERequest)
  /// Reads bytes of an open file.
  func read(_ handle: UInt64, offset: Int64, count: Int, _ request: consuming FUSERequest)
  /// Closes a file.
  func close(_ handle: UInt64, _ request: consuming FUSERequest)
  /// Opens a directory.
  func openDirectory(_ node: UInt64, _ request: consuming FUSERequest)
  /// Lists an open directory, with attributes for readdirplus.
  func readDirectory(
    _ node: UInt64,
    handle: UInt64,
    offset: Int64,
    size: Int,
    hasAttributes: Bool,
    _ request: consuming FUSERequest
  )
  /// Closes a directory.
  func closeDirectory(_ handle: UInt64, _ request: consuming FUSERequest)
  /// Returns the value of an extended attribute.
  func attribute(_ name: String, of node: UInt64, size: Int, _ request: consuming FUSERequest)
  /// Returns the names of the extended attributes.
  func attributeNames(of node: UInt64, size: Int, _ request: consuming FUSERequest)
  /// Returns the free and total space of the disk.
  func statistics(_ request: consuming FUSERequest)
}
