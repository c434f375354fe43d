import Artifacts
import Disk
import LocalRegistry
import OCI

/// Formats the output of `verify`.
enum CheckReport {
  // Further wrong ranges of a blob are only counted.
  private static let placeLimit = 100

  /// Prints one event.
  static func print(_ reference: Reference, _ event: ArtifactCheck.Event) {
    for line in lines(reference, event) { Terminal.print(line) }
    if let error = error(event) { Terminal.printError(error) }
  }

  /// Returns the lines of standard output for an event.
  static func lines(_ reference: Reference, _ event: ArtifactCheck.Event) -> [String] {
    switch event {
    case .damagedAsBefore(let digest): ["\(reference)\tdamaged\t\(digest)\tas reported before"]
    case .damaged(let descriptor, let file, let found):
      ["\(reference)\tdamaged\t\(descriptor.digest)\t\(file.path)"] + places(descriptor, found)
    case .mendedFromPool: ["\trepaired: from the blob in the local registry"]
    case .mended(let bytes, let origin): ["\trepaired: \(bytes) bytes were fetched from \(origin)"]
    case .lacks(let missing):
      [
        "\(reference)\tlacks \(missing.count) of its blobs, such as \(missing.first.map { "\($0.digest)" } ?? "-")"
      ]
    case .right(let bytes, let missing, let isMended):
      [
        "\(reference)\tintact\(missing > 0 ? ", blobs absent: \(missing)" : "")\(isMended ? ", repaired" : "")\t\(bytes) bytes"
      ]
    case .isInReadOnlyStore, .notMended: []
    }
  }

  /// Returns the line of standard error for an event, or nil.
  static func error(_ event: ArtifactCheck.Event) -> String? {
    switch event {
    case .isInReadOnlyStore(let file):
      "weightfs: \(file.path): damaged, but in a read-only store; repair it with the store's own program"
    case .notMended(let digest, let reason, let place):
      "weightfs: \(digest) cannot be repaired: \(reason); \(place.map { "moved aside to \($0)" } ?? "its damaged bytes are no longer served")"
    default: nil
    }
  }

  private static func places(_ descriptor: Descriptor, _ found: BlobExamination) -> [String] {
    guard found.isExact else {
      return ["\tno chunk list exists: any of its \(descriptor.size) bytes may be wrong"]
    }
    let lines = found.damage.prefix(placeLimit).map {
      "\tbytes \($0.lowerBound)-\($0.upperBound - 1) are wrong"
    }
    let rest = found.damage.count - placeLimit
    return rest > 0 ? lines + ["\tand \(rest) more ranges"] : lines
  }
}
