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
  @Test func delaysGrowAndEnd() {
    let policy = RetryPolicy()
    let delays = (1...4).compactMap { policy.delay(afterAttempt: $0, retryAfter: nil, random: 1) }
    #expect(delays == [.milliseconds(200), .milliseconds(400), .milliseconds(800), .milliseconds(1600)])
    #expect(policy.delay(afterAttempt: 5, retryAfter: nil, random: 1) == nil)
    #expect(policy.delay(afterAttempt: 1, retryAfter: nil, random: 0) == .milliseconds(100))
  }

  @Test func retryAfterIsObeyedWithinReason() {
    let policy = RetryPolicy()
    #expect(policy.delay(afterAttempt: 1, retryAfter: .seconds(3), random: 0) == .seconds(3))
    #expect(policy.delay(afterAttempt: 1, retryAfter: .seconds(600), random: 0) == nil)
  }
}
