/// The reference of all options as documents.
///
/// Pure functions of the table; a test compares them with the files in docs/.
package enum OptionDocument {
  private static let introduction = """
    # Configuration

    Every option of weightfs can be set in five places. Of several places that set it, the last one of this list counts:

    1. `/etc/weightfs/config.toml`, then `/etc/weightfs/conf.d/*.toml` in the order of their names.
    2. `$XDG_CONFIG_HOME/weightfs/config.toml`, else `~/.config/weightfs/config.toml`.
    3. The environment: `WEIGHTFS_` and the name in upper case, such as `WEIGHTFS_CACHE_LIMIT`. Flags take `true` or `false`, lists are
       separated by commas. An empty variable counts as absent.
    4. Options of mount(8) and fstab(5), such as `cache_limit=20G`. Values with commas are in double quotes.
    5. Flags, such as `--cache-limit 20G`.

    `WEIGHTFS_CONFIG` names the only configuration file that is read; if it is empty, none is. A table `[mount."/mnt/models"]` has options for
    one mount point, which take precedence there over those of all files. An unknown key is an error.

    ```
    cache_limit = "200G"
    additional_store = ["/var/lib/models"]

    [mount."/mnt/models"]
    allow_other = true
    ```

    `weightfs config show [MOUNTPOINT]` prints every value with its origin, `weightfs config check` checks the files. On SIGHUP a mount reads the
    configuration again, takes over the options marked with *, and opens its log file again. Sizes have the units K, M, G and T, powers of 1024; `20GB` and
    `20GiB` are the same as `20G`.

    | option | values | default | commands | |
    |---|---|---|---|---|

    """

  /// docs/configuration.md.
  package static var markdown: String {
    let rows = OptionTable.all.map { option in
      let cells = [
        "`\(option.key)`\(option.isReloadable ? " *" : "")", values(of: option), option.standard,
        option.scope == .mount ? "mount" : "all", option.help,
      ]
      return "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |"
    }
    return introduction + rows.joined(separator: "\n")
  }

  /// The values of an option in words.
  private static func values(of option: OptionDefinition) -> String {
    switch option.kind {
    case .flag: "true, false"
    case .text: "text"
    case .path: "path"
    case .list: "array of texts"
    case .size: "size"
    case .share: "size or percentage of the disk"
    case .integer(let range): "\(range.lowerBound) to \(range.upperBound)"
    case .choice(let words): words.joined(separator: ", ")
    case .octal: "three octal digits"
    }
  }

  /// docs/man/weightfs.toml.5.
  package static var manual: String {
    let entries = OptionTable.all.map { option in
      let standard = option.standard.isEmpty ? "" : "\nDefault: \(escaped(option.standard))."
      let place = option.scope == .mount ? "\nOnly for mounts." : ""
      let reload = option.isReloadable ? "\nTaken over on SIGHUP." : ""
      return
        ".It Li \(option.key) Pq \(escaped(values(of: option)))\n\(sentences(option.help))\(standard)\(place)\(reload)"
    }
    return """
      .Dd November 26, 2026
      .Dt WEIGHTFS.TOML 5
      .Os
      .Sh NAME
      .Nm weightfs.toml
      .Nd configuration of weightfs
      .Sh DESCRIPTION
      Configuration files of
      .Xr weightfs 1
      are in TOML.
      The files are read in this order, and the last one that has a value counts:
      .Pa /etc/weightfs/config.toml ,
      .Pa /etc/weightfs/conf.d/*.toml
      in the order of their names, and
      .Pa ~/.config/weightfs/config.toml .
      The environment
      .Pq Ev WEIGHTFS_CACHE_LIMIT
      and the command line take precedence.
      .Ev WEIGHTFS_CONFIG
      names the only file.
      .Pp
      A table
      .Li [mount."/mnt/models"]
      has keys for one mount point.
      An unknown key is an error.
      .Nm weightfs Cm config check
      checks the files.
      .Sh KEYS
      .Bl -tag -width Ds
      \(entries.joined(separator: "\n"))
      .El
      .Sh SEE ALSO
      .Xr weightfs 1 ,
      .Xr mount.weightfs 8
      """
  }

  /// The options in docs/man/weightfs.1.
  package static var manualOptions: String {
    func list(_ scope: OptionDefinition.Scope) -> String {
      let items = OptionTable.all.filter { $0.scope == scope }.map { option in
        let value = option.valueName.map { " Ar \(escaped($0.uppercased()))" } ?? ""
        let standard = option.standard.isEmpty ? "" : "\nDefault: \(escaped(option.standard))."
        return ".It Fl -\(option.name)\(value)\n\(sentences(option.help))\(standard)"
      }
      return ".Bl -tag -width Ds\n" + items.joined(separator: "\n") + "\n.El"
    }
    return """
      Options of every command that uses the local registry.
      All can also be set in
      .Xr weightfs.toml 5 ,
      by the environment, as in
      .Ev WEIGHTFS_CACHE_LIMIT ,
      and as options of
      .Xr mount 8 .
      \(list(.all))
      .Pp
      Options of
      .Cm mount :
      \(list(.mount))
      """
  }

  /// One sentence per line, as mdoc(7) wants it.
  private static func sentences(_ text: String) -> String {
    escaped(text).replacing(". ", with: ".\n")
  }

  /// A line of text must not begin with a control character of roff.
  private static func escaped(_ text: String) -> String {
    let clean = text.replacing("\\", with: "\\e")
    return clean.hasPrefix(".") || clean.hasPrefix("'") ? "\\&\(clean)" : clean
  }
}
