import Content

/// A request for bytes of a blob, with its urgency.
struct FetchRequest: Sendable {
  let range: Range<Int64>
  /// The part that a reader waits for; nil for none.
  let need: Range<Int64>?
  /// The purpose of the bytes outside `need`.
  let purpose: FlightQueue.Purpose
  /// Whether new connections are used, and blocks in flight are requested again.
  let wantsNewConnection: Bool
  /// Whether a flight fetches the same bytes too slowly.
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
