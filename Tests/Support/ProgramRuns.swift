import Foundation

/// Measures many parallel runs of a program: the exit status and peak memory of each.
package enum ProgramRuns {
  /// One run.
  package struct Outcome: Decodable, Sendable {
    package let name: String
    /// The exit status; negative if a signal ended the run; -9 also after the time limit.
    package let status: Int32
    package let isLate: Bool
    /// Peak resident memory in bytes.
    package let peakMemory: Int64
    package let seconds: Double
    package let output: String
  }

  // wait4 returns the memory of each child, which Foundation's Process does not.
  private static let script = """
    import json, os, signal, sys, threading, time, queue
    folder, limit, parallel = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    work = queue.Queue()
    for line in open(os.path.join(folder, 'runs.jsonl')): work.put(json.loads(line))
    lock, found = threading.Lock(), open(os.path.join(folder, 'outcomes.jsonl'), 'w')
    def serve():
        while True:
            try: run = work.get_nowait()
            except queue.Empty: return
            path = os.path.join(folder, 'output-%d' % threading.get_ident())
            out = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600)
            null = os.open('/dev/null', os.O_RDONLY)
            child = os.posix_spawnp(run['words'][0], run['words'], dict(os.environ, **run['environment']),
                file_actions=[(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)])
            late, begun = [], time.monotonic()
            def end(): late.append(1); os.kill(child, signal.SIGKILL)
            timer = threading.Timer(limit, end); timer.start()
            _, status, usage = os.wait4(child, 0)
            timer.cancel()
            text = os.pread(out, 1 << 20, 0).decode('utf-8', 'replace')
            os.close(out); os.close(null)
            with lock:
                found.write(json.dumps({'name': run['name'], 'status': os.waitstatus_to_exitcode(status),
                    'isLate': bool(late), 'seconds': time.monotonic() - begun, 'peakMemory': usage.ru_maxrss << 10, 'output': text}) + '\\n')
    threads = [threading.Thread(target=serve) for _ in range(parallel)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    """

  private struct Run: Encodable {
    let name: String
    let words: [String]
    let environment: [String: String]
  }

  /// Runs programs.
  ///
  /// - Parameters:
  ///   - runs: The name and the arguments of each run.
  ///   - folder: The directory for the results.
  ///   - seconds: The time limit of a run.
  ///   - environment: Variables in addition to those of the test.
  package static func measure(
    _ runs: [(name: String, words: [String])],
    in folder: TemporaryFolder,
    seconds: Int,
    environment: [String: String] = [:]
  ) async throws -> [Outcome] {
    let notes = try TemporaryFolder()
    let encoder = JSONEncoder()
    let lines = try runs.map { run in
      try encoder.encode(Run(name: run.name, words: run.words, environment: environment)) + Data("\n".utf8)
    }
    try notes.write(lines.flatMap { Array($0) }, to: "runs.jsonl")
    try notes.write(Array(script.utf8), to: "runs.py")
    let command = ["python3", notes.path("runs.py"), notes.path, "\(seconds)", "2"]
    let result = try await Command.run(["timeout", "-k", "5", "\(seconds * max(1, runs.count))"] + command)
    guard result.status == 0 else { throw Failure(text: result.error) }
    let found = try notes.read("outcomes.jsonl").split(separator: UInt8(ascii: "\n"))
    return try found.map { try JSONDecoder().decode(Outcome.self, from: Data($0)) }
  }

  private struct Failure: Error {
    let text: String
  }
}
