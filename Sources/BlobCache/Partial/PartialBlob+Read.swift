import OCI
package import Content
import Disk
import Locking
package import SystemPackage

/// Bytes that are here: on the disk, or in memory on their way there.
extension PartialBlob {
  /// Where a part of a range lies.
  private enum Place {
    case disk(Range<Int64>)
    case memory(StagedBytes, Range<Int64>)
  }

  /// Offers bytes in memory to readers; more may be added to them.
  func stage(_ staged: StagedBytes) { state.withLock { $0.staged.append(staged) } }

  /// Takes bytes out of memory, once they are on the disk or are given up.
  func unstage(_ staged: StagedBytes) {
    state.withLock { state in state.staged.removeAll { $0 === staged } }
  }

  /// Whether every byte of a range can be read, without asking the disk.
  ///
  /// - Parameter range: bytes.
  package func holds(_ range: Range<Int64>) -> Bool {
    state.withLock { state in
      // Most often nothing is in memory, or all of it is on the disk.
      if state.blocks.contains(range) { return true }
      return !state.staged.isEmpty && Self.places(range, state) != nil
    }
  }

  /// The places of a range, in order; nil where a byte of it is nowhere.
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

  /// Answers a read whose bytes are here.
  ///
  /// - Parameters:
  ///   - reply: answered with an error where a byte went away in between.
  ///   - range: bytes, not empty.
  package func answer(_ reply: consuming ReadReply, _ range: Range<Int64>) {
    let places = state.withLock { state in
      state.blocks.contains(range) ? [.disk(range)] : Self.places(range, state)
    }
    guard let places else {
      reply.fail(ContentError(.disk, "\(path)", "the bytes \(range) were taken away while they were read"))
      return
    }
    switch (places.count, places.first) {
    case (1, .disk?):
      reply.file(file.rawValue, offset: range.lowerBound, count: range.count, keepsPages: false)
    case (1, .memory(let staged, _)?):
      // Noncopyable values cannot be captured by a closure that is called once.
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

  /// Reads bytes that are here.
  ///
  /// - Parameters:
  ///   - buffer: filled from its start.
  ///   - offset: in the blob.
  /// - Returns: bytes that were read.
  /// - Throws: `Errno`.
  package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(Errno) -> Int {
    let range = offset..<min(offset + Int64(buffer.count), descriptor.size)
    let places = state.withLock { state -> [Place]? in
      state.staged.isEmpty || state.blocks.contains(range) ? nil : Self.places(range, state)
    }
    // The caller knows that the bytes are here; of those that are not the file has zeros.
    guard let places else { return try Disk.read(file, into: buffer, at: offset) }
    try Self.gather(places, file, into: buffer, from: offset)
    return range.count
  }
}
