package import Content
import HTTP
import OCI

extension RegistryClient {
  /// The repositories of a registry by `_catalog`, an extension of Docker's registry that few public ones allow.
  ///
  /// - Parameters:
  ///   - registry: its host.
  ///   - limit: of repositories.
  /// - Throws: `ContentError`.
  package func catalog(of registry: String, limit: Int) async throws(ContentError) -> [String] {
    // The catalog is no repository's; what stands in for one keeps its token apart from all real ones.
    guard let name = RepositoryName(registry: registry, path: "catalog/of/all") else {
      throw ContentError(.invalid, registry, "no address can be made of this registry")
    }
    var found: [String] = []
    var last: String?
    while found.count < limit {
      let query = FormEncoding.encode([("n", "1000")] + (last.map { [("last", $0)] } ?? []))
      let answer = try await repository(name).send(
        .get,
        "_catalog?\(query)",
        subject: "the catalog of \(registry)",
        limit: RegistryRepository.pageLimit,
        isOutside: true
      )
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
