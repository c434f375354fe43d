import Disk
import FileSystem
import LocalRegistry
import SystemPackage
import TestSupport
import Testing

struct OpenModesTests {
  private let one: FileIdentity
  private let other: FileIdentity

  init() throws {
    let folder = try TemporaryFolder()
    one = try FileIdentity(at: FilePath(try folder.write([1], to: "one")))
    other = try FileIdentity(at: FilePath(try folder.write([1, 2], to: "other")))
  }

  @Test func theFirstOpenRegistersAndTheLastCloseTakesItBack() {
    var modes = OpenModes()
    let step1 = modes.open(one)
    #expect(step1 == .register)
    let step2 = modes.install(7, one)
    #expect(step2 == .pass(7))
    let step3 = modes.open(one)
    #expect(step3 == .pass(7))
    let step4 = modes.close(isPassing: true)
    #expect(step4 == nil)
    #expect(modes.isPassing)
    let step5 = modes.close(isPassing: true)
    #expect(step5 == 7)
    #expect(!modes.isPassing)
  }

  @Test func aRefusedRegistrationIsServed() {
    var modes = OpenModes()
    let step6 = modes.open(one)
    #expect(step6 == .register)
    let step7 = modes.install(nil, one)
    #expect(step7 == .serve)
    #expect(modes.servedCount == 1)
  }

  @Test func aNodeThatIsServedStaysServedUntilItsLastHandleIsClosed() {
    var modes = OpenModes()
    let step8 = modes.open(nil)
    #expect(step8 == .serve)
    let step9 = modes.open(one)
    #expect(step9 == .serve)
    let step10 = modes.close(isPassing: false)
    #expect(step10 == nil)
    let step11 = modes.close(isPassing: false)
    #expect(step11 == nil)
    let step12 = modes.open(one)
    #expect(step12 == .register)
  }

  @Test func anotherFileUnderTheSameNodeIsAnotherNode() {
    var modes = OpenModes()
    _ = modes.open(one)
    _ = modes.install(7, one)
    let step13 = modes.open(other)
    #expect(step13 == .stale)
    let step14 = modes.open(nil)
    #expect(step14 == .stale)
  }

  /// The rules of the kernel (fs/fuse/iomode.c), applied to the answers to opens.
  private struct Kernel {
    var cached = 0
    var backing: Int32?
    var passing = 0

    mutating func answer(_ number: Int32?) -> Bool {
      if let number {
        guard cached == 0, backing == nil || backing == number else { return false }
        backing = number
        passing += 1
      } else {
        guard passing == 0 else { return false }
        cached += 1
      }
      return true
    }

    mutating func release(_ number: Int32?) {
      if number == nil {
        cached -= 1
      } else {
        passing -= 1
        if passing == 0 { backing = nil }
      }
    }
  }

  @Test(arguments: SeededGenerator.seeds(1...100))
  func noAnswerIsOneThatTheKernelRefusesAndNoRegistrationIsLost(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var modes = OpenModes()
    var kernel = Kernel()
    var handles: [Int32?] = []
    var registering: [(number: Int32?, identity: FileIdentity)] = []
    var registered: Set<Int32> = []
    var next: Int32 = 1
    func answered(_ action: OpenModes.Action) {
      switch action {
      case .serve:
        let isRight = kernel.answer(nil)
        #expect(isRight, "seed \(seed): served while passing")
        handles.append(nil)
      case .pass(let number):
        #expect(registered.contains(number), "seed \(seed): \(number) is not registered")
        let isRight = kernel.answer(number)
        #expect(isRight, "seed \(seed): passed while served, or two backing files")
        handles.append(number)
      case .stale: break
      case .register: Issue.record("seed \(seed): nothing to register")
      }
    }
    for _ in 0..<300 {
      switch Int.random(in: 0..<4, using: &generator) {
      case 0:
        let candidate = [nil, one, one, other].randomElement(using: &generator) ?? nil
        let action = modes.open(candidate)
        if action == .register, let candidate {
          // The kernel refuses some registrations.
          let number: Int32? = Int.random(in: 0..<5, using: &generator) == 0 ? nil : next
          if let number { registered.insert(number) }
          next += 1
          registering.append((number, candidate))
        } else {
          answered(action)
        }
      case 1:
        guard !registering.isEmpty else { continue }
        let (number, identity) = registering.removeFirst()
        let action = modes.install(number, identity)
        if let number, action != .pass(number) { registered.remove(number) }
        answered(action)
      default:
        guard !handles.isEmpty else { continue }
        let handle = handles.remove(at: Int.random(in: handles.indices, using: &generator))
        // The kernel releases the backing file before it sends the release request.
        kernel.release(handle)
        if let done = modes.close(isPassing: handle != nil) {
          let removed = registered.remove(done)
          #expect(removed != nil, "seed \(seed): \(done) was removed twice")
        }
      }
    }
    for (number, identity) in registering {
      let action = modes.install(number, identity)
      if let number, action != .pass(number) { registered.remove(number) }
      answered(action)
    }
    for handle in handles {
      kernel.release(handle)
      if let done = modes.close(isPassing: handle != nil) { registered.remove(done) }
    }
    #expect(registered.isEmpty, "seed \(seed): \(registered) stay registered")
  }
}
