import Artifacts
import Disk
import LocalRegistry
import OCI

/// The lines that `verify` prints.
enum CheckReport {
  // More wrong places of one blob are only counted.
  private static let placeLimit = 100

  /// Prints one event.
  static func print(_ reference: Reference, _ event: ArtifactCheck.Event) {
    for line in lines(reference, event) { Terminal.print(line) }
    if let error = error(event) { Terminal.printError(error) }
  }

  /// The lines of standard output for an event.
  static func lines(_ reference: Reference, _ event: ArtifactCheck.Event) -> [String] {
    switch event {
    case .damagedAsBefore(let digest): ["\(reference)\tdamaged\t\(digest)\tas told before"]
    case .damaged(let descriptor, let file, let found):
      ["\(reference)\tdamaged\t\(descriptor.digest)\t\(file.path)"] + places(descriptor, found)
    case .mendedFromPool: ["\tmended: from the blob that the local registry has"]
    case .mended(let bytes, let origin): ["\tmended: \(bytes) bytes were fetched from \(origin)"]
    case .lacks(let missing):
      [
        "\(reference)\tlacks \(missing.count) of its blobs, such as \(missing.first.map { "\($0.digest)" } ?? "-")"
      ]
    case .right(let bytes, let missing, let isMended):
      [
        "\(reference)\tis right\(missing > 0 ? ", blobs not here: \(missing)" : "")\(isMended ? " again" : "")\t\(bytes) bytes"
      ]
    case .isInReadOnlyStore, .notMended: []
    }
  }

  /// The line of standard error for an event that needs one.
  static func error(_ event: ArtifactCheck.Event) -> String? {
    switch event {
    case .isInReadOnlyStore(let file):
      "weightfs: \(file.path): lies in a read-only store, where nothing is mended; mend it with the program that wrote it"
    case .notMended(let digest, let reason, let place):
      "weightfs: \(digest) cannot be mended: \(reason); \(place.map { "moved aside to \($0)" } ?? "its damaged bytes are not served any more")"
    default: nil
    }
  }

  private static func places(_ descriptor: Descriptor, _ found: BlobExamination) -> [String] {
    guard found.isExact else {
      return ["\tno digests of its chunks are known: all of its \(descriptor.size) bytes are in doubt"]
    }
    let lines = found.damage.prefix(placeLimit).map {
      "\tbytes \($0.lowerBound)-\($0.upperBound - 1) are wrong"
    }
    let rest = found.damage.count - placeLimit
    return rest > 0 ? lines + ["\tand \(rest) more places"] : lines
  }
}
