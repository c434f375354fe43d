/// Waits for a condition that another thread or process makes true, with a time limit.
package func eventually(
  seconds: Double = 120,
  _ condition: () async throws -> Bool
) async rethrows -> Bool {
  let end = ContinuousClock.now + .seconds(seconds)
  while ContinuousClock.now < end {
    if try await condition() { return true }
    try? await Task.sleep(for: .milliseconds(20))
  }
  return try await condition()
}
