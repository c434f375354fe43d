/// What a file system answers.
///
/// Called on the session's threads, several at once; none of the calls may wait.
package protocol FUSEOperations: AnyObject, Sendable {
  /// The mount is ready to serve.
  ///
  /// - Parameter hasPassthrough: the kernel can read backing files itself.
  func started(hasPassthrough: Bool)
  /// Looks a name up.
  func lookUp(_ name: [UInt8], in parent: UInt64, _ request: consuming FUSERequest)
  /// Takes look-ups back.
  func forget(_ node: UInt64, _ count: UInt64)
  /// Tells attributes.
  func attributes(of node: UInt64, _ request: consuming FUSERequest)
  /// Tells the target of a link.
  func readLink(_ node: UInt64, _ request: consuming FUSERequest)
  /// Opens a file.
  func open(_ node: UInt64, flags: Int32, _ request: consuming FUSERequest)
  /// Reads bytes of an open file.
  func read(_ handle: UInt64, offset: Int64, count: Int, _ request: consuming FUSERequest)
  /// Closes a file.
  func close(_ handle: UInt64, _ request: consuming FUSERequest)
  /// Opens a folder.
  func openDirectory(_ node: UInt64, _ request: consuming FUSERequest)
  /// Lists an open folder, with attributes for readdirplus.
  func readDirectory(
    _ node: UInt64,
    handle: UInt64,
    offset: Int64,
    size: Int,
    hasAttributes: Bool,
    _ request: consuming FUSERequest
  )
  /// Closes a folder.
  func closeDirectory(_ handle: UInt64, _ request: consuming FUSERequest)
  /// Tells an extended attribute.
  func attribute(_ name: String, of node: UInt64, size: Int, _ request: consuming FUSERequest)
  /// Tells the names of extended attributes.
  func attributeNames(of node: UInt64, size: Int, _ request: consuming FUSERequest)
  /// Tells the room on the disk.
  func statistics(_ request: consuming FUSERequest)
}
