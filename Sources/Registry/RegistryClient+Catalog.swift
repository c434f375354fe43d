package import Content
import HTTP
import OCI

extension RegistryClient {
  /// The repositories of a registry by `_catalog`, an extension of Docker's registry that few public ones allow.
  ///
  /// - Parameters:
  ///   - registry: its host.
  ///   - limit: of repositories.
  /// - Returns: all of them, in order.
  /// - Throws: `ContentError`.
  package func catalog(of registry: String, limit: Int) async throws(ContentError) -> [String] {
    // The catalog is no repository's; its authorization is asked for under a name that no repository has.
    var found: [String] = []
    var last: String?
    while found.count < limit {
      let query = FormEncoding.encode([("n", "1000")] + (last.map { [("last", $0)] } ?? []))
      guard let url = RequestURL("\(base(of: registry))_catalog?\(query)") else {
        throw ContentError(.invalid, registry, "no address can be made of this registry")
      }
      var request = HTTPRequest(.get, url)
      request.totalTimeout = configuration.stallTimeout * 2
      let page: CatalogPage
      do {
        let (response, body) = try await thread.send(request, limit: RegistryRepository.pageLimit)
        guard response.status == 200 else {
          let code: ContentError.Code = response.status == 404 ? .notFound : .unauthorized
          throw ContentError(code, registry, host: registry, "no catalog (status \(response.status))")
        }
        do throws(DocumentError) {
          page = try JSONDocument.decode(CatalogPage.self, from: body)
        } catch {
          throw ContentError(.invalid, registry, host: registry, error.reason)
        }
      } catch let error as HTTPError {
        throw ContentError(.unreachable, registry, host: registry, error.reason)
      } catch let error as ContentError {
        throw error
      } catch {
        throw ContentError(.unreachable, registry, host: registry, "\(error)")
      }
      let names = (page.repositories ?? []).filter { Grammar.isRepository($0) }
      guard let end = names.last, end != last else { break }
      found += names
      last = end
      if names.count < 1000 { break }
    }
    return Array(found.prefix(limit))
  }
}

private struct CatalogPage: Decodable {
  let repositories: [String]?
}
