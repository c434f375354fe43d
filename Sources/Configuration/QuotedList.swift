/// A text that is split at commas, except those within double quotes, as options of mount(8) are.
package struct QuotedList: Sendable {
  /// The parts with their quotes.
  package private(set) var parts = [""]
  /// Whether a quote has no end.
  package private(set) var isOpen = false

  /// Splits a text.
  package init(_ text: String) {
    for character in text {
      if character == "\"" { isOpen.toggle() }
      if character == ",", !isOpen {
        parts.append("")
      } else {
        parts[parts.count - 1].append(character)
      }
    }
  }
}
