import TOMLKit

/// The values of one configuration file.
///
/// Top-level keys are options; a table `[mount."/mnt/models"]` has options for one mount point, which take precedence
/// there.
package struct ConfigurationFile: Sendable, Equatable {
  /// The path of the file, for messages.
  package let path: String
  /// The values for every mount, by key.
  package private(set) var values: [String: [String]] = [:]
  /// The values for one mount point, by its path and key.
  package private(set) var mounts: [String: [String: [String]]] = [:]

  /// The reason why a file is invalid.
  package struct Problem: Error, Sendable, Equatable, CustomStringConvertible {
    package let path: String
    package let reason: String

    package var description: String { "\(path): \(reason)" }
  }

  private static let mountTable = "mount"

  /// Parses a file.
  ///
  /// - Parameters:
  ///   - text: The content of the file in TOML 1.0.
  ///   - path: The path of the file.
  /// - Throws: `Problem` for a syntax error, an unknown key or an invalid value.
  package init(parsing text: String, path: String) throws(Problem) {
    self.path = path
    let table: TOMLTable
    do {
      table = try TOMLTable(string: text)
    } catch let error as TOMLParseError {
      let place = error.source.begin
      throw Problem(path: path, reason: "line \(place.line), column \(place.column): \(error.description)")
    } catch {
      throw Problem(path: path, reason: "\(error)")
    }
    for (key, value) in table {
      guard key == Self.mountTable else {
        values[key] = try Self.values(key, value.tomlValue, path)
        continue
      }
      guard let points = value.table else {
        throw Problem(path: path, reason: "'mount' takes tables such as [mount.\"/mnt/models\"]")
      }
      for (point, section) in points {
        guard point.hasPrefix("/"), let section = section.table else {
          throw Problem(path: path, reason: "[mount.\"\(point)\"] is not a table for an absolute path")
        }
        var own: [String: [String]] = [:]
        for (key, value) in section { own[key] = try Self.values(key, value.tomlValue, path) }
        mounts[point] = own
      }
    }
  }

  private static func values(_ key: String, _ value: TOMLValue, _ path: String) throws(Problem) -> [String] {
    guard let option = OptionTable.all.first(where: { $0.key == key }) else {
      let near = OptionTable.nearest(key, among: OptionTable.all.map(\.key))
      throw Problem(
        path: path,
        reason: "unknown key '\(key)'" + (near.map { "; did you mean '\($0)'?" } ?? "")
      )
    }
    var texts: [String] = []
    if let array = value.array, option.isList {
      for element in array {
        guard let text = text(of: element.tomlValue) else {
          throw Problem(path: path, reason: "'\(key)' takes an array of strings")
        }
        texts.append(text)
      }
    } else if let text = text(of: value) {
      texts = [text]
    } else {
      throw Problem(path: path, reason: "'\(key)' has a value of the wrong type")
    }
    for text in texts {
      if let problem = option.problem(with: text) { throw Problem(path: path, reason: "\(key): \(problem)") }
    }
    return texts
  }

  private static func text(of value: TOMLValue) -> String? {
    value.string ?? value.int.map { "\($0)" } ?? value.bool.map { "\($0)" }
  }
}
