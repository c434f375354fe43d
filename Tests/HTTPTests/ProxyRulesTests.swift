import TestSupport
import Testing

@testable import HTTP

struct ProxyRulesTests {
  private static let proxy = "http://proxy:3128"

  @Test(
    arguments: [
      ("https://example.com/", [:], false),
      ("https://example.com/", ["HTTPS_PROXY": proxy], true),
      ("https://example.com/", ["https_proxy": proxy], true),
      ("https://example.com/", ["https_proxy": ""], false),
      ("http://example.com/", ["HTTP_PROXY": proxy], false),
      ("http://example.com/", ["http_proxy": proxy], true),
      ("http://example.com/", ["ALL_PROXY": proxy], true),
      ("http://localhost:5000/", ["ALL_PROXY": proxy], false),
      ("https://example.com/", ["ALL_PROXY": proxy, "no_proxy": "*"], false),
      ("https://example.com/", ["ALL_PROXY": proxy, "no_proxy": "example.com"], false),
      ("https://a.example.com/", ["ALL_PROXY": proxy, "NO_PROXY": "other, .example.com"], false),
      ("https://notexample.com/", ["ALL_PROXY": proxy, "no_proxy": "example.com"], true),
      ("https://EXAMPLE.com/", ["ALL_PROXY": proxy, "no_proxy": "Example.COM."], false),
      ("https://10.1.2.3/", ["ALL_PROXY": proxy, "no_proxy": "10.0.0.0/8"], false),
      ("https://11.1.2.3/", ["ALL_PROXY": proxy, "no_proxy": "10.0.0.0/8"], true),
      ("https://172.31.0.1/", ["ALL_PROXY": proxy, "no_proxy": "172.16.0.0/12"], false),
      ("https://172.32.0.1/", ["ALL_PROXY": proxy, "no_proxy": "172.16.0.0/12"], true),
      ("https://[fd00::1]/", ["ALL_PROXY": proxy, "no_proxy": "fd00::/8"], false),
      ("https://10.1.2.3/", ["ALL_PROXY": proxy, "no_proxy": "10.0.0.0/99"], true),
      ("https://example.com/", ["ALL_PROXY": proxy, "no_proxy": "."], true),
    ] as [(String, [String: String], Bool)]
  )
  func requestsGoThroughAProxyAsCurlSendsThem(
    _ address: String,
    _ environment: [String: String],
    _ want: Bool
  )
    throws
  {
    let url = try #require(RequestURL(address))
    #expect(ProxyRules(environment: environment).usesProxy(for: url) == want)
  }
}
