import Disk
import ArtifactTree
import Content
import Fetching
import LocalRegistry
import OCI
import Locking

/// Compares the first bytes of a file with the format that its name promises, before the reader gets them.
///
/// Created for one read; forwards the answer, or replaces it with an error.
final class PromiseCheck: ReadResponder {
  private let magic: ModelMagic
  private let file: FileNode
  private let blob: LazyBlob
  private let name: String
  private let reply: Mutex<ReadReply?>

  init(_ magic: ModelMagic, _ file: FileNode, _ blob: LazyBlob, name: String, _ reply: consuming ReadReply) {
    self.blob = blob
    self.magic = magic
    self.file = file
    self.name = name
    self.reply = Mutex(reply)
  }

  func answer(_ token: UInt, file descriptor: Int32, offset: Int64, count: Int, keepsPages: Bool) {
    guard let reply = reply.withLock({ $0.take() }) else { return }
    var first = [UInt8](repeating: 0, count: min(count, ModelMagic.length))
    let got = first.withUnsafeMutableBytes { BlobFile.read(descriptor, into: $0, at: offset) }
    if let error = judge(first.prefix(got)) { return reply.fail(error) }
    reply.file(descriptor, offset: offset, count: count, keepsPages: keepsPages)
  }

  func answer(_ token: UInt, bytes: UnsafeRawBufferPointer) {
    guard let reply = reply.withLock({ $0.take() }) else { return }
    if let error = judge(bytes.prefix(ModelMagic.length)) { return reply.fail(error) }
    reply.bytes(bytes)
  }

  func answer(_ token: UInt, error: ContentError) {
    guard let reply = reply.withLock({ $0.take() }) else { return }
    reply.fail(error)
  }

  private func judge(_ first: some Collection<UInt8>) -> ContentError? {
    guard let error = Self.error(magic, first, file.content.size, name, file.content.blob.digest) else {
      // Too few bytes to decide.
      if first.count >= min(ModelMagic.length, Int(clamping: file.content.size)) { file.isPromiseKept = true }
      return nil
    }
    // Unverified bytes may come from a proxy: the next read fetches them again.
    if file.doubt(error, isVerified: blob.verifiedFile != nil) {
      blob.distrust(file.content.offset..<file.content.offset + Int64(ModelMagic.length))
    }
    return error
  }

  /// Returns an error if the first bytes do not match the format that a name promises.
  static func error(
    _ magic: ModelMagic,
    _ first: some Collection<UInt8>,
    _ size: Int64,
    _ name: String,
    _ digest: Digest
  ) -> ContentError? {
    magic.doubt(first, size: size).map { reason in
      var error = ContentError(
        .corrupt,
        "\(name) (\(digest))",
        "the content does not match the file name: \(reason)",
        advice: "Check how the artifact was packed; 'weightfs inspect' lists its layers"
      )
      error.isLasting = true
      return error
    }
  }
}
