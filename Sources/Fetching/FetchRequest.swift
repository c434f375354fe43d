import Content

/// A wish for bytes of a blob, and how urgent it is.
struct FetchRequest: Sendable {
  let range: Range<Int64>
  /// The part that a reader waits for; nil for none.
  let need: Range<Int64>?
  /// Of the bytes outside of `need`.
  let purpose: FlightQueue.Purpose
  /// Connections that were used before are not used, and blocks under way are asked for again.
  let wantsNewConnection: Bool
  /// A request under way fetches the same bytes, too slowly.
  let isHedge: Bool

  init(
    _ range: Range<Int64>,
    need: Range<Int64>? = nil,
    _ purpose: FlightQueue.Purpose,
    wantsNewConnection: Bool = false,
    isHedge: Bool = false
  ) {
    self.range = range
    self.need = need
    self.purpose = purpose
    self.wantsNewConnection = wantsNewConnection
    self.isHedge = isHedge
  }
}
