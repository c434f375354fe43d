/// Describes why a certificate was refused, distinguishing the cases with different remedies.
enum TLSFailure {
  // <openssl/x509_vfy.h>: X509_V_ERR_…
  private static let notYetValid = 9
  private static let expired = 10
  private static let selfSigned: Set<Int> = [18, 19]
  private static let unknownIssuer: Set<Int> = [2, 20, 21, 27]
  private static let wrongHost: Set<Int> = [62, 64]

  /// Returns one sentence that includes the text of libcurl.
  ///
  /// - Parameters:
  ///   - text: The error text of libcurl.
  ///   - verification: The verification result of OpenSSL; 0 for none.
  static func reason(_ text: String, _ verification: Int) -> String {
    if wrongHost.contains(verification) || text.contains("subject name") || text.contains("host name") {
      return "the certificate is for another host (\(text))"
    }
    switch verification {
    case expired: return "the certificate has expired (\(text))"
    case notYetValid: return "the certificate is not valid yet: check the clock (\(text))"
    case _ where selfSigned.contains(verification):
      return
        "the certificate is self-signed or its authority is unknown; trust it with SSL_CERT_FILE (\(text))"
    case _ where unknownIssuer.contains(verification):
      return "the certificate's issuer is unknown; trust its authority with SSL_CERT_FILE (\(text))"
    default: return text
    }
  }
}
