/// A text that never shows in a log or an error: a password, a token, an Authorization header.
package struct Secret: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible,
  CustomReflectable
{
  /// The text itself, for the one place that sends it.
  package let value: String

  /// Hides a text.
  ///
  /// - Parameter value: what to hide.
  package init(_ value: String) { self.value = value }

  package var description: String { "(secret)" }
  package var debugDescription: String { "(secret)" }
  package var customMirror: Mirror { Mirror(self, children: []) }
}
