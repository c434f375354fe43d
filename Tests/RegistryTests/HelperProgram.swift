import Foundation
import Synchronization
import TestSupport

/// Credential helpers on the PATH of the tests.
enum HelperProgram {
  private static let path = Mutex(())

  /// Makes a program `docker-credential-NAME` of a shell script.
  static func install(_ name: String, _ script: String, in folder: TemporaryFolder) throws {
    let file = try folder.write(Array("#!/bin/sh\n\(script)\n".utf8), to: "bin/docker-credential-\(name)")
    chmod(file, 0o755)
    // Tests run side by side: none may lose the directory of another.
    path.withLock { _ in
      let path = String(cString: getenv("PATH"))
      if !path.contains(folder.path("bin")) { setenv("PATH", "\(folder.path("bin")):\(path)", 1) }
    }
  }
}
