import Content
import Synchronization
import TestSupport
import Testing

struct SingleFlightTests {
  private let error = ContentError(.unreachable, "x", "y")

  /// Work that waits until it is let go or cancelled, and is counted.
  private final class Gate: Sendable {
    private struct State {
      var begun = 0
      var cancelled = 0
      var isOpen = false
    }
    private let state = Mutex(State())

    var begun: Int { state.withLock { $0.begun } }
    var cancelled: Int { state.withLock { $0.cancelled } }
    func open() { state.withLock { $0.isOpen = true } }

    func pass() async throws(ContentError) -> Int {
      let number = state.withLock { state in
        state.begun += 1
        return state.begun
      }
      while !state.withLock({ $0.isOpen }) {
        if Task.isCancelled {
          state.withLock { $0.cancelled += 1 }
          throw ContentError(.cancelled, "work", "cancelled")
        }
        await Task.yield()
      }
      return number
    }
  }

  private func caller(
    _ flights: SingleFlight<String, Int>,
    _ gate: Gate,
    isFresh: Bool = false
  ) -> Task<Int?, Never> {
    Task {
      do throws(ContentError) {
        return try await flights.value(for: "a", isFresh: isFresh) { () async throws(ContentError) in
          try await gate.pass()
        }
      } catch {
        return error.code == .cancelled ? nil : -1
      }
    }
  }

  @Test func callersOfOneKeyShareTheWork() async {
    let flights = SingleFlight<String, Int>()
    let gate = Gate()
    let callers = (0..<20).map { _ in caller(flights, gate) }
    #expect(await eventually { gate.begun == 1 })
    gate.open()
    // Callers that came after its end begin another one, which is open at once.
    for caller in callers { #expect((await caller.value ?? 0) >= 1) }
    #expect(flights.count == 0)
  }

  @Test func aFailureReachesEveryCallerAndIsNotKept() async throws {
    let flights = SingleFlight<Int, Int>()
    let error = error
    do throws(ContentError) {
      _ = try await flights.value(for: 1) { () async throws(ContentError) in throw error }
      Issue.record("no error")
    } catch {
      #expect(error.code == .unreachable)
    }
    #expect(try await flights.value(for: 1) { 5 } == 5)
  }

  @Test func aCancelledCallerReturnsAtOnceAndTheOthersGetTheResult() async {
    let flights = SingleFlight<String, Int>()
    let gate = Gate()
    let first = caller(flights, gate)
    #expect(await eventually { gate.begun == 1 })
    let second = caller(flights, gate)
    first.cancel()
    #expect(await first.value == nil, "it does not wait for the work")
    gate.open()
    #expect(await second.value != nil)
    #expect(gate.cancelled == 0 || gate.begun == 2, "work that a caller waits for is not cancelled")
  }

  @Test func workThatNoCallerWaitsForIsCancelled() async {
    let flights = SingleFlight<String, Int>()
    let gate = Gate()
    let only = caller(flights, gate)
    #expect(await eventually { gate.begun == 1 })
    only.cancel()
    #expect(await only.value == nil)
    #expect(await eventually { gate.cancelled == 1 && flights.count == 0 })
    gate.open()
    #expect(await caller(flights, gate).value == 2, "the next caller begins again")
  }

  @Test func workThatOutlivesItsCallersGoesOnBehindThem() async throws {
    let flights = SingleFlight<String, Int>(outlivesCallers: true)
    let gate = Gate()
    let late = try await flights.value(for: "a", within: .milliseconds(20)) { () async throws(ContentError) in
      try await gate.pass()
    }
    #expect(late == nil)
    let again = try await flights.value(for: "a", within: .zero) { 7 }
    #expect(again == nil, "the time is over for later callers too")
    gate.open()
    #expect(await eventually { flights.count == 0 })
    #expect(gate.begun == 1 && gate.cancelled == 0, "it came to its end")
  }

  @Test func freshWorkIsBegunBesideTheOldAndJoinedByNewCallers() async {
    let flights = SingleFlight<String, Int>()
    let gate = Gate()
    let old = caller(flights, gate)
    #expect(await eventually { gate.begun == 1 })
    let fresh = caller(flights, gate, isFresh: true)
    #expect(await eventually { gate.begun == 2 })
    let joined = caller(flights, gate)
    #expect(await eventually { flights.count == 2 })
    gate.open()
    #expect(await old.value == 1)
    #expect(await fresh.value == 2)
    #expect((await joined.value ?? 0) >= 2)
  }

  @Test func afterForgettingNewCallersBeginAgain() async {
    let flights = SingleFlight<String, Int>()
    let gate = Gate()
    let old = caller(flights, gate)
    #expect(await eventually { gate.begun == 1 })
    flights.forget("a")
    let next = caller(flights, gate)
    #expect(await eventually { gate.begun == 2 })
    gate.open()
    #expect(await old.value == 1)
    #expect(await next.value == 2)
  }
}
