import BlobCache
import LocalRegistry
import TestSupport
import Testing

struct BlockMapTests {
  @Test(arguments: [0, 1, 65_535, 65_536, 65_537, (1 << 20) + 5, 10 << 20, 4095 << 16, (8200 << 16) + 1])
  func agreesWithAModel(_ size: Int) {
    for seed in SeededGenerator.seeds(1...20) {
      var generator = SeededGenerator(seed: seed)
      var map = BlockMap(size: Int64(size))
      var model = [Bool](repeating: false, count: (size + 65_535) / 65_536)
      #expect(map.blockCount == model.count)
      for _ in 0..<50 where !model.isEmpty {
        let first = Int.random(in: 0..<model.count, using: &generator)
        let reach = Bool.random(using: &generator) ? 8 : 5000
        let end = Int.random(in: first...min(model.count, first + reach), using: &generator)
        if Bool.random(using: &generator) {
          map.insert(first..<end)
          for block in first..<end { model[block] = true }
        } else {
          map.remove(first..<end)
          for block in first..<end { model[block] = false }
        }
        #expect(map.presentCount == model.count { $0 }, "seed \(seed)")
        #expect(map.isComplete == model.allSatisfy { $0 }, "seed \(seed)")
        let missing = map.missing(in: 0..<model.count).flatMap { Array($0) }
        #expect(missing == model.indices.filter { !model[$0] }, "seed \(seed)")
        #expect(map.firstMissing(from: first) == model[first...].firstIndex(of: false), "seed \(seed)")
        let bytes = model.indices.filter { model[$0] }.reduce(0) { $0 + min(65_536, size - $1 * 65_536) }
        #expect(map.presentBytes == Int64(bytes), "seed \(seed)")
        let some = model[first..<end].indices.filter { model[$0] }.reduce(0) {
          $0 + min(65_536, size - $1 * 65_536)
        }
        #expect(map.presentBytes(in: map.bytes(of: first..<end)) == Int64(some), "seed \(seed)")
        #expect(map.contains(block: first) == model[first], "seed \(seed)")
        #expect(map.firstPresent(from: first, before: end) == model[first..<end].firstIndex(of: true) ?? end)
      }
    }
  }

  @Test func aRangeLiesInItsBlocks() {
    let map = BlockMap(size: 200_000)
    #expect(map.blocks(touching: 0..<1) == 0..<1)
    #expect(map.blocks(touching: 65_535..<65_537) == 0..<2)
    #expect(map.blocks(touching: 199_999..<200_000) == 3..<4)
    #expect(map.blocks(touching: 5..<5).isEmpty)
    #expect(map.bytes(of: 3..<4) == 196_608..<200_000)
  }

  @Test func nothingLiesBehindTheLastChunk() {
    var map = BlockMap(size: (2 << 20) + 5)
    map.insert(0..<map.blockCount)
    #expect(map.contains(chunk: 2))
    #expect(!map.contains(chunk: 3))
    #expect(map.firstMissing(from: 0) == nil)
    map.remove(3..<5)
    #expect(map.firstMissing(from: 0) == 3)
    #expect(map.firstPresent(from: 3, before: 100) == 5)
    map.insert(3..<5)
    #expect(map.isComplete)
  }

  @Test func aMapOfFourTebibytesCostsWhatIsPresent() {
    var map = BlockMap(size: 4 << 40)
    map.insert(40_000_000..<40_000_002)
    #expect(map.presentBytes == 131_072)
    #expect(map.missing(in: 0..<map.blockCount) == [0..<40_000_000, 40_000_002..<map.blockCount])
    #expect(map.firstPresent(from: 0, before: map.blockCount) == 40_000_000)
    #expect(map.firstMissing(from: 40_000_000) == 40_000_002)
    map.remove(0..<map.blockCount)
    #expect(map == BlockMap(size: 4 << 40))
  }
}
