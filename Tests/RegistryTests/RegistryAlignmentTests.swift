import Content
import HTTP
import OCI
import Testing

@testable import Registry

/// Values that hold a digest live in the frames of async functions, which release builds align to 16 bytes.
struct RegistryAlignmentTests {
  @Test func noValueOfAnExchangeNeedsMoreAlignmentThanAnAsyncFrameHas() {
    func check<Value>(_ type: Value.Type) {
      #expect(MemoryLayout<Value>.alignment <= 16, "\(type)")
    }
    check(RegistryRepository.self)
    check(RequestEngine.self)
    check(DocumentExchange.self)
    check(DocumentAnswer.self)
    check(BlobExchange.self)
    check(BlobReceiver.Result.self)
    check(TokenRequest.self)
    check(TokenExchange.self)
    check(HostMemory.Redirect.self)
    check(ExchangeOutcome.self)
  }
}
