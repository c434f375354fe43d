import CFUSE
import Glibc

// Functions at file scope are nonisolated and capture nothing, so they convert to C function pointers.

func makeOperations() -> fuse_lowlevel_ops {
  var table = fuse_lowlevel_ops()
  table.`init` = started
  table.lookup = lookUp
  table.forget = forget
  table.forget_multi = forgetMany
  table.getattr = getAttributes
  table.readlink = readLink
  table.open = openFile
  table.read = readFile
  table.release = closeFile
  table.opendir = openDirectory
  table.readdir = readDirectory
  table.readdirplus = readDirectoryPlus
  table.releasedir = closeDirectory
  table.getxattr = getAttribute
  table.listxattr = listAttributes
  table.statfs = statistics
  return table
}

private func operations(_ user: UnsafeMutableRawPointer?) -> (any FUSEOperations)? {
  // SAFETY: FUSESession retained the box for the session.
  user.map { Unmanaged<SessionBox>.fromOpaque($0).takeUnretainedValue().operations }
}

private func operations(_ request: fuse_req_t) -> (any FUSEOperations)? {
  operations(fuse_req_userdata(request))
}

private func bytes(_ text: UnsafePointer<CChar>?) -> [UInt8] {
  guard let text else { return [] }
  return Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
}

// Maximum number of background requests in flight, sufficient for readahead of several files.
private let maximumBackground: UInt32 = 64

private func started(_ user: UnsafeMutableRawPointer?, _ connection: UnsafeMutablePointer<fuse_conn_info>?) {
  // libfuse ends the session if the value differs from the mount option.
  if let user, let connection,
    let limit = Unmanaged<SessionBox>.fromOpaque(user).takeUnretainedValue().maximumRead
  {
    connection.pointee.max_read = limit
  }
  let hasPassthrough = cfuse_configure(connection, maximumBackground) == 1
  operations(user)?.started(hasPassthrough: hasPassthrough)
}

private func lookUp(_ request: fuse_req_t?, _ parent: fuse_ino_t, _ name: UnsafePointer<CChar>?) {
  guard let request else { return }
  operations(request)?.lookUp(bytes(name), in: parent, FUSERequest(request))
}

private func forget(_ request: fuse_req_t?, _ node: fuse_ino_t, _ count: UInt64) {
  guard let request else { return }
  operations(request)?.forget(node, count)
  fuse_reply_none(request)
}

private func forgetMany(
  _ request: fuse_req_t?,
  _ count: Int,
  _ items: UnsafeMutablePointer<fuse_forget_data>?
) {
  guard let request else { return }
  let target = operations(request)
  for item in UnsafeBufferPointer(start: items, count: count) { target?.forget(item.ino, item.nlookup) }
  fuse_reply_none(request)
}

private func getAttributes(
  _ request: fuse_req_t?,
  _ node: fuse_ino_t,
  _ file: UnsafeMutablePointer<fuse_file_info>?
) {
  guard let request else { return }
  operations(request)?.attributes(of: node, FUSERequest(request))
}

private func readLink(_ request: fuse_req_t?, _ node: fuse_ino_t) {
  guard let request else { return }
  operations(request)?.readLink(node, FUSERequest(request))
}

private func openFile(
  _ request: fuse_req_t?,
  _ node: fuse_ino_t,
  _ file: UnsafeMutablePointer<fuse_file_info>?
) {
  guard let request else { return }
  operations(request)?.open(node, flags: file?.pointee.flags ?? 0, FUSERequest(request))
}

private func readFile(
  _ request: fuse_req_t?,
  _ node: fuse_ino_t,
  _ size: Int,
  _ offset: off_t,
  _ file: UnsafeMutablePointer<fuse_file_info>?
) {
  guard let request else { return }
  operations(request)?.read(file?.pointee.fh ?? 0, offset: Int64(offset), count: size, FUSERequest(request))
}

private func closeFile(
  _ request: fuse_req_t?,
  _ node: fuse_ino_t,
  _ file: UnsafeMutablePointer<fuse_file_info>?
) {
  guard let request else { return }
  operations(request)?.close(file?.pointee.fh ?? 0, FUSERequest(request))
}

private func openDirectory(
  _ request: fuse_req_t?,
  _ node: fuse_ino_t,
  _ file: UnsafeMutablePointer<fuse_file_info>?
) {
  guard let request else { return }
  operations(request)?.openDirectory(node, FUSERequest(request))
}

private func readDirectory(
  _ request: fuse_req_t?,
  _ node: fuse_ino_t,
  _ size: Int,
  _ offset: off_t,
  _ file: UnsafeMutablePointer<fuse_file_info>?
) {
  guard let request else { return }
  operations(request)?.readDirectory(
    node,
    handle: file?.pointee.fh ?? 0,
    offset: Int64(offset),
    size: size,
    hasAttributes: false,
    FUSERequest(request)
  )
}

private func readDirectoryPlus(
  _ request: fuse_req_t?,
  _ node: fuse_ino_t,
  _ size: Int,
  _ offset: off_t,
  _ file: UnsafeMutablePointer<fuse_file_info>?
) {
  guard let request else { return }
  operations(request)?.readDirectory(
    node,
    handle: file?.pointee.fh ?? 0,
    offset: Int64(offset),
    size: size,
    hasAttributes: true,
    FUSERequest(request)
  )
}

private func closeDirectory(
  _ request: fuse_req_t?,
  _ node: fuse_ino_t,
  _ file: UnsafeMutablePointer<fuse_file_info>?
) {
  guard let request else { return }
  operations(request)?.closeDirectory(file?.pointee.fh ?? 0, FUSERequest(request))
}

private func getAttribute(
  _ request: fuse_req_t?,
  _ node: fuse_ino_t,
  _ name: UnsafePointer<CChar>?,
  _ size: Int
) {
  guard let request else { return }
  operations(request)?.attribute(
    String(decoding: bytes(name), as: UTF8.self),
    of: node,
    size: size,
    FUSERequest(request)
  )
}

private func listAttributes(_ request: fuse_req_t?, _ node: fuse_ino_t, _ size: Int) {
  guard let request else { return }
  operations(request)?.attributeNames(of: node, size: size, FUSERequest(request))
}

private func statistics(_ request: fuse_req_t?, _ node: fuse_ino_t) {
  guard let request else { return }
  operations(request)?.statistics(FUSERequest(request))
}
