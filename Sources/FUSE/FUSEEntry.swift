import CFUSE

/// A looked-up node.
package struct FUSEEntry {
  let parameters: fuse_entry_param

  /// Creates an entry.
  ///
  /// - Parameters:
  ///   - node: The node number; 0 for a name that does not exist.
  ///   - attributes: The attributes.
  ///   - entryTimeout: How long the kernel may cache the name, in seconds.
  ///   - attributeTimeout: How long the kernel may cache the attributes, in seconds.
  package init(node: UInt64, attributes: FUSEAttributes, entryTimeout: Double, attributeTimeout: Double) {
    var parameters = fuse_entry_param()
    parameters.ino = node
    parameters.attr = attributes.status
    parameters.entry_timeout = entryTimeout
    parameters.attr_timeout = attributeTimeout
    self.parameters = parameters
  }
}

/// The entries of a directory in the format of the kernel, up to a size.
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

  /// Appends an entry if it fits.
  ///
  /// - Parameters:
  ///   - name: Without NUL.
  ///   - offset: The offset of the next entry.
  ///   - makeEntry: Called only if the entry fits, as it may count a look-up.
  /// - Returns: False if the entry does not fit.
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
