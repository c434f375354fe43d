package import Content
import HTTP
import OCI

extension RegistryClient {
  /// Returns the repositories of a registry from `_catalog`, an extension that few public registries allow.
  ///
  /// - Parameters:
  ///   - registry: The host of the registry.
  ///   - limit: The maximum number of repositories.
  /// - Throws: `ContentError`.
  package func catalog(of registry: String, limit: Int) async throws(ContentError) -> [String] {
    // The catalog belongs to no repository; this placeholder separates its token from those of repositories.
    guard let name = RepositoryName(registry: registry, path: "catalog/of/all") else {
      throw ContentError(.invalid, registry, "the name is not a valid registry address")
    }
    var found: [String] = []
    var last: String?
    while found.count < limit {
      let query = FormEncoding.encode([("n", "1000")] + (last.map { [("last", $0)] } ?? []))
      let page = DocumentExchange(
        repository: repository(name),
        subject: "the catalog of \(registry)",
        method: .get,
        path: "_catalog?\(query)",
        limit: RegistryRepository.pageLimit,
        isOutside: true
      )
      let answer = try await page.repository.send(page)
      guard answer.response.status == 200 else {
        throw answer.refusal
      }
      let names: [String]
      do throws(DocumentError) {
        names = try NamePage.names("repositories", in: answer.body, limit: limit - found.count) {
          Grammar.isRepository($0)
        }
      } catch {
        throw unreadable(answer.response, answer.body, "the catalog of \(registry)", of: registry, error)
      }
      guard let end = names.last, end != last else { break }
      found += names
      last = end
      if names.count < 1000 { break }
    }
    return Array(found.prefix(limit))
  }
}
