import CFUSE

/// A looked-up node.
package struct FUSEEntry {
  let parameters: fuse_entry_param

  /// Makes an entry.
  ///
  /// - Parameters:
  ///   - node: its number; 0 for a name that is not there.
  ///   - attributes: what stat(2) tells.
  ///   - entryTimeout: seconds that the kernel may remember the name.
  ///   - attributeTimeout: seconds that it may remember the attributes.
  package init(node: UInt64, attributes: FUSEAttributes, entryTimeout: Double, attributeTimeout: Double) {
    var parameters = fuse_entry_param()
    parameters.ino = node
    parameters.attr = attributes.status
    parameters.entry_timeout = entryTimeout
    parameters.attr_timeout = attributeTimeout
    self.parameters = parameters
  }
}

/// The entries of a folder as the kernel reads them, up to a size.
package struct FUSEDirectoryBuffer: ~Copyable {
  private let request: fuse_req_t
  private let hasAttributes: Bool
  var bytes: [CChar]
  private(set) var count = 0

  init(request: fuse_req_t, size: Int, hasAttributes: Bool) {
    self.request = request
    self.hasAttributes = hasAttributes
    bytes = [CChar](repeating: 0, count: size)
  }

  /// Adds an entry if there is room.
  ///
  /// - Parameters:
  ///   - name: without NUL.
  ///   - offset: of the entry behind it.
  ///   - makeEntry: called only if there is room, as it may count a look-up.
  /// - Returns: false where there is no room.
  package mutating func append(_ name: [UInt8], offset: Int64, _ makeEntry: () -> FUSEEntry) -> Bool {
    let text = name.map { CChar(bitPattern: $0) } + [0]
    let needed =
      hasAttributes
      ? fuse_add_direntry_plus(request, nil, 0, text, nil, 0)
      : fuse_add_direntry(request, nil, 0, text, nil, 0)
    guard count + needed <= bytes.count else { return false }
    var entry = makeEntry().parameters
    let (request, hasAttributes, start) = (request, hasAttributes, count)
    bytes.withUnsafeMutableBufferPointer { buffer in
      let place = buffer.baseAddress.map { $0 + start }
      let room = buffer.count - start
      if hasAttributes {
        _ = fuse_add_direntry_plus(request, place, room, text, &entry, off_t(offset))
      } else {
        _ = fuse_add_direntry(request, place, room, text, &entry.attr, off_t(offset))
      }
    }
    count += needed
    return true
  }
}
