/// A text that is never shown in a log or an error: a password, a token, an Authorization header.
package struct Secret: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible,
  CustomReflectable
{
  /// The text, only for sending it.
  package let value: String

  /// Wraps a secret text.
  package init(_ value: String) { self.value = value }

  package var description: String { "(secret)" }
  package var debugDescription: String { "(secret)" }
  package var customMirror: Mirror { Mirror(self, children: []) }
}
