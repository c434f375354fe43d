import BlobCache
import Content
import Disk
package import Layouts
import LocalRegistry
package import OCI
import SystemPackage

/// Locates a blob: opening a blob and reporting its status search the same locations in the same order.
extension BlobStore {
  /// A location that has, or may have, all bytes of a blob.
  private enum Location {
    /// The data of the blob, embedded in its descriptor.
    case embedded([UInt8])
    case pool
    case layout(BlobFile, any LocalRepository)
    case store(BlobFile)
  }

  /// The places to search, in order.
  private enum Place: CaseIterable {
    case descriptor, pool, layout, store
  }

  /// Looks for a blob in one place by name, without hashing or changing a file; returns nil if it is not
  /// there.
  ///
  /// - Parameters:
  ///   - descriptor: The descriptor of the blob.
  ///   - layout: A layout that may have the blob, in addition to the pool.
  ///   - place: The place to search.
  /// - Throws: `ContentError` if the layout cannot be read.
  private func locate(
    _ descriptor: Descriptor,
    _ layout: (any LocalRepository)?,
    in place: Place
  ) throws(ContentError) -> Location? {
    switch place {
    case .descriptor: return descriptor.verifiedData.map { .embedded($0) }
    case .pool: return local.pool.hasFile(descriptor.digest) ? .pool : nil
    case .layout:
      guard let layout, let file = try layout.blob(descriptor.digest) else { return nil }
      return .layout(file, layout)
    case .store:
      guard let file = local.storedBlob(descriptor.digest, size: descriptor.size),
        !isKnownBad(file, descriptor.digest)
      else { return nil }
      return .store(file)
    }
  }

  /// Opens the present content of a blob, in its first location or as a partial blob.
  func phase(
    _ descriptor: Descriptor,
    _ layout: (any LocalRepository)?,
    canFetch: Bool
  ) throws(ContentError) -> LazyBlob.Phase {
    for place in Place.allCases {
      guard let location = try locate(descriptor, layout, in: place) else { continue }
      switch location {
      case .embedded(let data):
        let file = try BlobFile.holding(data, path: FilePath("\(descriptor.digest)"))
        return .complete(file, .verified)
      case .pool:
        if let phase = try pooled(descriptor, layout) { return phase }
      case .layout(let file, let layout):
        if try isUsable(file, descriptor, in: layout, canFetch: canFetch) {
          return complete(file, descriptor)
        }
      case .store(let file): return complete(file, descriptor)
      }
    }
    let partial = try local.pool.partial(descriptor)
    // Another process may have committed the blob between the two checks.
    if case .file(let file, let isVerified) = try local.pool.complete(descriptor) {
      if !partial.isComplete { local.pool.discard(partial) }
      return .complete(file, isVerified ? .verified : .unverified)
    }
    return .partial(PartialContent(blob: partial, verifier: BlobVerifier(blob: partial)))
  }

  /// Returns the pool's file, or nil if there is none or it is damaged; a damaged file is set aside.
  private func pooled(
    _ descriptor: Descriptor,
    _ layout: (any LocalRepository)?
  ) throws(ContentError) -> LazyBlob.Phase? {
    switch try local.pool.complete(descriptor) {
    case .file(let file, let isVerified):
      return isVerified || !isKnownBad(file, descriptor.digest)
        ? .complete(file, isVerified ? .verified : .unverified) : nil
    case .setAside(let damaged):
      // The layouts of this root have hard links to the same damaged file.
      local.removeLinks(of: descriptor.digest, to: damaged)
      if let layout { local.remove(descriptor.digest, from: layout, ifItIs: damaged) }
      return nil
    case .none: return nil
    }
  }

  private func complete(_ file: BlobFile, _ descriptor: Descriptor) -> LazyBlob.Phase {
    .complete(file, isVerified(file, descriptor) ? .verified : .unverified)
  }

  private func isVerified(_ file: BlobFile, _ descriptor: Descriptor) -> Bool {
    VerificationRecords(root: local.root).covers(file, descriptor.digest)
  }

  /// Returns whether a layout's file may be served; a wrong file is removed from the layout if the blob can
  /// be fetched.
  private func isUsable(
    _ file: BlobFile,
    _ descriptor: Descriptor,
    in layout: any LocalRepository,
    canFetch: Bool
  ) throws(ContentError) -> Bool {
    guard file.size != descriptor.size || isKnownBad(file, descriptor.digest) else { return true }
    guard !canFetch else {
      local.remove(descriptor.digest, from: layout)
      return false
    }
    throw ContentError(
      .corrupt,
      "\(descriptor.digest)",
      host: layout.origin,
      file.size != descriptor.size
        ? "the blob has \(file.size) bytes, the manifest says \(descriptor.size)"
        : "the blob's bytes are wrong",
      advice: "Repair or remove the layout"
    )
  }

  /// Returns the status of a blob, or of a range of it, without opening it.
  ///
  /// - Parameters:
  ///   - descriptor: The descriptor of the blob.
  ///   - layout: A layout that may have the blob, in addition to the pool.
  ///   - range: The range of a file in the blob; nil for the complete blob.
  package func status(
    _ descriptor: Descriptor,
    layout: (any LocalRepository)?,
    range: Range<Int64>? = nil
  ) async -> BlobStatus {
    let whole = range ?? 0..<descriptor.size
    guard descriptor.size <= Self.largestBlob else {
      return BlobStatus(presence: .remote, cachedBytes: 0, verified: .no)
    }
    if let blob = openBlob(descriptor.digest),
      blob.descriptor.size == descriptor.size
    {
      // All bytes of a blob may be present before they are verified; such a blob is not complete.
      return whole.count == Int(descriptor.size) ? blob.status : blob.status(of: whole)
    }
    let found = try? await local.executor.run { () throws(ContentError) in
      try self.lookAt(descriptor, layout, whole)
    }
    // Bytes that cannot be read count as absent: a reader cannot use them either.
    return found ?? BlobStatus(presence: .remote, cachedBytes: 0, verified: .no)
  }

  private func lookAt(
    _ descriptor: Descriptor,
    _ layout: (any LocalRepository)?,
    _ range: Range<Int64>
  ) throws(ContentError) -> BlobStatus {
    let count = Int64(range.count)
    func complete(_ isVerified: Bool) -> BlobStatus {
      BlobStatus(presence: .complete, cachedBytes: count, verified: isVerified ? .blob : .no)
    }
    for place in Place.allCases {
      guard let location = try locate(descriptor, layout, in: place) else { continue }
      switch location {
      case .embedded: return complete(true)
      case .pool where local.pool.hasComplete(descriptor): return complete(true)
      case .layout(let file, _) where file.size == descriptor.size:
        return complete(isVerified(file, descriptor))
      case .store(let file): return complete(isVerified(file, descriptor))
      case .pool, .layout: break
      }
    }
    let bytes = local.pool.partialBytes(descriptor, in: range)
    guard count < descriptor.size else {
      return BlobStatus(presence: bytes > 0 ? .partial : .remote, cachedBytes: bytes, verified: .no)
    }
    return .partial(bytes, of: count)
  }
}
