import ArgumentParser
import Artifacts
import BlobCache
import Configuration
import Content
import Disk
import Glibc
import LocalRegistry
import OCI
import SystemPackage

/// `weightfs doctor`.
struct Doctor: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract:
      "Check what mounts need: the device, the kernel, the local registry, the configuration, a registry.",
    discussion: """
      Each line has a result, and what to do. With a reference its registry is asked, and up to 80 MiB of its largest \
      blob are fetched without being kept. The exit status is 1 if a line says FAIL.
      """
  )

  @Argument(help: "A reference whose registry is checked.")
  var reference: String?

  @OptionGroup var common: CommonOptions

  func validate() throws { if let reference { _ = try Reference(parsing: reference) } }

  func run() async throws {
    try await ExitStatus.run {
      var findings = Diagnosis.machine()
      findings.append(Self.files())
      let assembly: Assembly
      do throws(ContentError) {
        assembly = try common.assemble()
      } catch {
        findings.append(Finding(.bad, "local registry", "\(error)"))
        return try Self.show(findings)
      }
      findings += Self.registry(assembly)
      if let reference { findings += await Self.endpoint(try Reference(parsing: reference), assembly) }
      try Self.show(findings)
    }
  }

  private static func show(_ findings: [Finding]) throws {
    Terminal.print(findings.map(\.line).joined(separator: "\n"))
    if findings.contains(where: { $0.level == .bad }) { throw ExitCode(1) }
  }

  private static func files() -> Finding {
    do throws(ContentError) {
      let files = try ConfigurationFiles.read(CommonOptions.environment)
      let names = files.map(\.path).joined(separator: ", ")
      return Finding(.good, "configuration", files.isEmpty ? "no file: the defaults apply" : names)
    } catch {
      return Finding(.bad, "configuration", "\(error)")
    }
  }

  private static func registry(_ assembly: Assembly) -> [Finding] {
    let path = assembly.local.root.path
    guard access(path.string, W_OK) == 0 else {
      return [
        Finding(
          .bad,
          "local registry",
          "\(path): \(Errno(rawValue: errno))",
          advice: "Choose --registry-root"
        )
      ]
    }
    do throws(ContentError) {
      let usage = try assembly.local.space.current()
      let limit = usage.limits.cacheLimit.map { " of \(ByteSize.text($0))" } ?? ""
      let words = "\(path): \(ByteSize.text(usage.used))\(limit) used"
      guard !assembly.local.space.isBelowDefault else {
        return [
          Finding(
            .notice,
            "local registry",
            "\(words); less space is free than the default minimum, so that new bytes are not cached",
            advice: "Free some space, or set --min-free"
          )
        ]
      }
      return [Finding(.good, "local registry", words)]
    } catch {
      return [Finding(.bad, "local registry", "\(error)")]
    }
  }

  // MARK: A registry

  // Bytes of one request.
  private static let requestSize: Int64 = 16 << 20
  private static let parallelRequests = 4

  private static func endpoint(_ reference: Reference, _ assembly: Assembly) async -> [Finding] {
    let host = "\(reference.repository)"
    var findings: [Finding] = []
    do throws(ContentError) {
      let start = ContinuousClock.now
      let artifact = try await assembly.load(.reference(reference), isFresh: true, isRecorded: false)
      findings.append(
        Finding(.good, host, "\(reference) was found in \(text(.now - start)): \(artifact.packaging)")
      )
      let largest = artifact.manifest.layers.max { $0.size < $1.size }
      guard let largest, let source = artifact.source else {
        return findings + [Finding(.notice, host, "the artifact has no blob to fetch")]
      }
      findings.append(try await rate(of: largest, source, host, count: 1))
      if largest.size > requestSize {
        findings.append(try await rate(of: largest, source, host, count: parallelRequests))
      }
      findings.append(
        source.servesRanges
          ? Finding(.good, host, "answers requests for ranges")
          : Finding(.notice, host, "does not answer requests for ranges: blobs are fetched from their start")
      )
    } catch {
      findings.append(Finding(.bad, host, "\(error)"))
    }
    return findings
  }

  /// Fetches ranges at the same time, and returns the rate of all.
  private static func rate(
    of blob: Descriptor,
    _ source: any Repository,
    _ host: String,
    count: Int
  ) async throws(ContentError) -> Finding {
    let ranges = (0..<count).compactMap { number -> Range<Int64>? in
      let start = Int64(number) * requestSize
      return start < blob.size ? start..<min(blob.size, start + requestSize) : nil
    }
    let start = ContinuousClock.now
    let failure = await withTaskGroup(of: ContentError?.self) { group in
      for range in ranges {
        group.addTask {
          do throws(ContentError) {
            try await source.fetch(blob, range: range, into: DiscardingSink())
            return nil
          } catch {
            return error
          }
        }
      }
      return await group.reduce(nil) { $0 ?? $1 }
    }
    if let failure { throw failure }
    let bytes = ranges.reduce(0) { $0 + Int64($1.count) }
    let seconds = max((.now - start) / .seconds(1), 0.001)
    let words = "\(ranges.count) request\(ranges.count == 1 ? "" : "s") at once"
    return Finding(
      .good,
      host,
      "\(ByteSize.text(Int64(Double(bytes) / seconds)))/s with \(words) (\(ByteSize.text(bytes)) in \(text(.now - start)))"
    )
  }

  private static func text(_ duration: Duration) -> String { "\(Int(duration / .milliseconds(1))) ms" }
}

/// Receives bytes and keeps none.
private struct DiscardingSink: BlobSink {
  func receive(_ bytes: UnsafeRawBufferPointer, at offset: Int64) -> Bool { true }
}
