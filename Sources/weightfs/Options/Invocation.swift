import Configuration
import Content
import Glibc

/// The words of a command line, before ArgumentParser sees them: options of mount(8) become flags, and options of
/// configuration files and of the environment are added.
///
/// `weightfs mount --mount-helper SOURCE DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]` is the form in which
/// mount.weightfs hands over the arguments of mount(8).
struct Invocation: Equatable {
  /// The words after the program's name, without those of configuration files.
  private(set) var words: [String]
  /// Whether mount(8) is the caller: it expects status 1 for wrong usage and 32 for a failed mount.
  private(set) var isHelper = false
  /// Whether mount(8) asks for everything but the mount (`-f`).
  private(set) var isFake = false

  /// The reason why the words are wrong usage.
  struct Problem: Error, Equatable, CustomStringConvertible {
    let reason: String

    var description: String { reason }
  }

  static let helperFlag = "--mount-helper"
  // Commands that do not use the local registry.
  static let commandsWithoutOptions: Set<String> = [
    "unmount", "umount", "help", "status", "health", "config", "wait", "read-through",
  ]
  private static let nestedCommands: Set<String> = ["profile"]
  // Sources that select the complete tree.
  private static let treeSources: Set<String> = ["models", "weightfs", "none"]

  /// The words of this process, or those of the caller if they are wrong usage.
  static var words: [String] {
    let given = Array(CommandLine.arguments.dropFirst())
    return (try? Invocation(given).words) ?? given
  }

  /// Interprets the words after the program's name.
  ///
  /// - Throws: `Problem` for wrong options of mount(8).
  init(_ given: [String]) throws(Problem) {
    words = given
    guard given.first == "mount" else { return }
    if given.dropFirst().first == Self.helperFlag {
      isHelper = true
      words = ["mount"] + (try helped(Array(given.dropFirst(2))))
    } else {
      words = ["mount"] + (try expanded(Array(given.dropFirst())))
    }
  }

  /// Returns the words for `weightfs mount` of the arguments of mount(8).
  private mutating func helped(_ given: [String]) throws(Problem) -> [String] {
    guard given.count >= 2 else {
      throw Problem(reason: "usage: mount.weightfs SOURCE MOUNTPOINT [-o OPTIONS]")
    }
    var text: [String] = []
    var rest = Array(given.dropFirst(2).reversed())
    while let word = rest.popLast() {
      switch word {
      case "-o", "-t", "-N":
        guard let value = rest.popLast() else { throw Problem(reason: "\(word) needs a value") }
        if word == "-o" { text.append(value) }
      case _ where word.hasPrefix("-o"): text.append(String(word.dropFirst(2)))
      case _ where word.hasPrefix("-") && word.dropFirst().allSatisfy({ "sfnv".contains($0) }):
        if word.contains("f") { isFake = true }
      default: throw Problem(reason: "unknown argument '\(word)'")
      }
    }
    let list: MountOptionList
    do throws(MountOptionList.Problem) {
      list = try MountOptionList(parsing: text.joined(separator: ","))
    } catch {
      throw Problem(reason: error.reason)
    }
    var found = list.kernel.flatMap { ["-o", $0] } + list.flags
    found.append(list.isRemount ? "--remount" : "--again")
    return found + Self.source(given[0], isRemount: list.isRemount) + [given[1]]
  }

  /// Returns the words that select a source of mount(8).
  private static func source(_ text: String, isRemount: Bool) -> [String] {
    if let root = text.split(separator: ":", maxSplits: 1).last, text.hasPrefix("weightfs:/") {
      // The source that the kernel shows for a mount of the tree; mount(8) passes it with `remount`.
      return isRemount ? [] : ["--registry-root=\(root)"]
    }
    // mount(8) makes a path of a source that its working directory has an entry of; no artifact's name begins with `/`.
    let last = text.hasPrefix("/") ? String(text.split(separator: "/").last ?? "") : text
    return treeSources.contains(last) ? [] : [text]
  }

  /// Replaces `-o` by the flags of its options.
  private func expanded(_ given: [String]) throws(Problem) -> [String] {
    var found: [String] = []
    var rest = Array(given.reversed())
    while let word = rest.popLast() {
      if word == "--" { return found + [word] + rest.reversed() }
      guard word.hasPrefix("-o"), !word.hasPrefix("--") else {
        found.append(word)
        continue
      }
      guard let value = word == "-o" ? rest.popLast() : String(word.dropFirst(2)) else {
        throw Problem(reason: "-o needs a value")
      }
      do throws(MountOptionList.Problem) {
        let list = try MountOptionList(parsing: value)
        found += list.flags + list.kernel.flatMap { ["-o", $0] } + (list.isRemount ? ["--remount"] : [])
      } catch {
        throw Problem(reason: "-o: \(error.reason)")
      }
    }
    return found
  }

  /// Returns the words with the options of configuration files and of the environment.
  ///
  /// - Parameter environment: The environment of the process.
  /// - Throws: `ContentError` if a file cannot be read or has wrong values.
  func configured(_ environment: [String: String]) throws(ContentError) -> [String] {
    guard let command = words.first, !command.hasPrefix("-"), !Self.commandsWithoutOptions.contains(command),
      !words.contains("--help"), !words.contains("-h")
    else { return words }
    let arguments = MountArguments(words.dropFirst())
    let point = command == "mount" ? arguments.places.last.map { AbsolutePath.of($0) } : nil
    let configuration = try ConfigurationFiles.merged(environment, mountPoint: point)
    let scope: OptionDefinition.Scope = command == "mount" ? .mount : .all
    // The options of `profile record` are those of the nested command.
    let count = Self.nestedCommands.contains(command) ? 2 : 1
    let flags = configuration.flags(for: scope, except: Set(arguments.options.keys))
    return words.prefix(count) + flags + words.dropFirst(count)
  }
}
