import Registry
import Testing

struct ChallengeTests {
  @Test func readsQuotedCommasAndEscapes() {
    let found = Challenge.parse(
      #"Bearer realm="https://auth.io/token",service="a \"b\", c",scope="repository:x/y:pull,push""#
    )
    #expect(found.count == 1)
    #expect(found.first?.scheme == "bearer")
    #expect(
      found.first?.parameters == [
        "realm": "https://auth.io/token", "service": #"a "b", c"#, "scope": "repository:x/y:pull,push",
      ]
    )
  }

  @Test func readsSeveralChallenges() {
    let found = Challenge.parse(
      #"Basic realm="a", charset="UTF-8", BEARER Realm=https://b/t , Negotiate abc=="#
    )
    #expect(found.map(\.scheme) == ["basic", "bearer", "negotiate"])
    #expect(found[0].parameters == ["realm": "a", "charset": "UTF-8"])
    #expect(found[1].parameters == ["realm": "https://b/t"])
  }

  @Test func theFirstOfTwoEqualNamesCounts() {
    #expect(Challenge.parse(#"Bearer realm="a", realm="b""#).first?.parameters["realm"] == "a")
  }

  @Test(arguments: [
    "", ",,,", "=", "\"", "Bearer realm=\"unterminated", "Bearer =x", String(repeating: "a,", count: 20_000),
  ])
  func rubbishEnds(_ text: String) { #expect(Challenge.parse(text).count <= 20_000) }
}

struct RetryPolicyTests {
  private func delay(
    _ attempt: Int,
    elapsed: Duration = .zero,
    _ patience: RetryPolicy.Patience = .read,
    retryAfter: Duration? = nil,
    random: Double = 1
  ) -> Duration? {
    RetryPolicy().delay(
      afterAttempt: attempt,
      elapsed: elapsed,
      patience: patience,
      retryAfter: retryAfter,
      random: random
    )
  }

  @Test func delaysGrowUpToFiveSeconds() {
    let delays = (1...4).compactMap { delay($0) }
    #expect(delays == [.milliseconds(200), .milliseconds(400), .milliseconds(800), .milliseconds(1600)])
    #expect(delay(50) == .seconds(5))
    #expect(delay(1, random: 0) == .milliseconds(100))
  }

  @Test func aReadIsTriedForAMinuteAndALookUpForAQuarterOfIt() {
    #expect(delay(9, elapsed: .seconds(54)) == .seconds(5))
    #expect(delay(9, elapsed: .seconds(56)) == nil)
    #expect(delay(9, elapsed: .seconds(9), .lookUp) == .seconds(5))
    #expect(delay(9, elapsed: .seconds(11), .lookUp) == nil)
    #expect(delay(9, elapsed: .seconds(500), .background) == .seconds(5))
  }

  @Test func retryAfterIsObeyedWithinReason() {
    #expect(delay(1, retryAfter: .seconds(3)) == .seconds(3))
    #expect(delay(1, retryAfter: .seconds(600)) == nil)
    #expect(delay(1, .background, retryAfter: .seconds(100)) == .seconds(200), "longer than a reader waits")
    #expect(delay(1, retryAfter: .zero) == .milliseconds(100), "neither immediately nor indefinitely")
  }
}
