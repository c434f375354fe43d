import OCI
package import Content
import Disk
import Locking
package import SystemPackage

/// Reads of present bytes: from the disk, or from memory while they are being written.
extension PartialBlob {
  /// The location of a part of a range.
  private enum Place {
    case disk(Range<Int64>)
    case memory(StagedBytes, Range<Int64>)
  }

  /// Makes bytes in memory readable; more bytes may be appended to them later.
  func stage(_ staged: StagedBytes) { state.withLock { $0.staged.append(staged) } }

  /// Removes bytes from memory, once they are on the disk or discarded.
  func unstage(_ staged: StagedBytes) {
    state.withLock { state in state.staged.removeAll { $0 === staged } }
  }

  /// Whether every byte of a range can be read, according to the map and the staged bytes; does not access
  /// the disk.
  package func holds(_ range: Range<Int64>) -> Bool {
    state.withLock { state in
      // In most cases nothing is in memory, or all of it is on the disk.
      if state.blocks.contains(range) { return true }
      return !state.staged.isEmpty && Self.places(range, state) != nil
    }
  }

  /// Returns the locations of a range in order, or nil if a byte of it is missing.
  private static func places(_ range: Range<Int64>, _ state: borrowing State) -> [Place]? {
    var found: [Place] = []
    var position = range.lowerBound
    while position < range.upperBound {
      let block = Int(position / BlockMap.blockSize)
      if state.blocks.contains(block: block) {
        let end = min(Int64(block + 1) * BlockMap.blockSize, range.upperBound)
        if case .disk(let before)? = found.last {
          found[found.count - 1] = .disk(before.lowerBound..<end)
        } else {
          found.append(.disk(position..<end))
        }
        position = end
      } else if let staged = state.staged.first(where: { $0.start <= position && position < $0.end }) {
        let end = min(staged.end, range.upperBound)
        found.append(.memory(staged, position..<end))
        position = end
      } else {
        return nil
      }
    }
    return found
  }

  /// Answers a read of present bytes.
  ///
  /// - Parameters:
  ///   - reply: Fails if another process has removed a byte in the meantime.
  ///   - range: A byte range that is not empty.
  package func answer(_ reply: consuming ReadReply, _ range: Range<Int64>) {
    let places = state.withLock { state in
      state.blocks.contains(range) ? [.disk(range)] : Self.places(range, state)
    }
    guard let places else {
      reply.fail(ContentError(.disk, "\(path)", "the bytes \(range) were removed while they were being read"))
      return
    }
    switch (places.count, places.first) {
    case (1, .disk?):
      reply.file(file.rawValue, offset: range.lowerBound, count: range.count, keepsPages: false)
    case (1, .memory(let staged, _)?):
      // A noncopyable value cannot be consumed in a closure, as the compiler does not know that it is called
      // once.
      var left = Optional(reply)
      staged.withBytes(range) { bytes in left.take()?.bytes(bytes) }
    default:
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count, alignment: 16)
      defer { buffer.deallocate() }
      do throws(Errno) {
        try Self.gather(places, file, into: buffer, from: range.lowerBound)
        reply.bytes(UnsafeRawBufferPointer(buffer))
      } catch {
        reply.fail(ContentError(.disk, "\(path)", error))
      }
    }
  }

  private static func gather(
    _ places: [Place],
    _ file: FileDescriptor,
    into buffer: UnsafeMutableRawBufferPointer,
    from start: Int64
  ) throws(Errno) {
    for place in places {
      switch place {
      case .disk(let range):
        let part = buffer[Int(range.lowerBound - start)..<Int(range.upperBound - start)]
        let count = try Disk.read(
          file,
          into: UnsafeMutableRawBufferPointer(rebasing: part),
          at: range.lowerBound
        )
        guard count == range.count else { throw .ioError }
      case .memory(let staged, let range):
        let part = buffer[Int(range.lowerBound - start)..<Int(range.upperBound - start)]
        staged.withBytes(range) { UnsafeMutableRawBufferPointer(rebasing: part).copyMemory(from: $0) }
      }
    }
  }

  /// Reads present bytes.
  ///
  /// - Parameters:
  ///   - buffer: Filled from its start.
  ///   - offset: The offset in the blob.
  /// - Returns: The number of bytes read.
  /// - Throws: `Errno`.
  package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    let range = offset..<min(offset + Int64(buffer.count), descriptor.size)
    let places = state.withLock { state -> [Place]? in
      state.staged.isEmpty || state.blocks.contains(range) ? nil : Self.places(range, state)
    }
    // The caller has checked that the bytes are present; missing bytes would be read as zeros.
    guard let places else { return try Disk.read(file, into: buffer, at: offset) }
    try Self.gather(places, file, into: buffer, from: offset)
    return range.count
  }
}
