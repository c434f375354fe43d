import CSQLite

/// Why a database cannot be read.
package struct SQLiteError: Error, Sendable {
  /// What SQLite says, one line.
  package let reason: String
}

/// A database in a file of weightfs' own: its text is read, nothing is written.
package struct SQLiteFile: Sendable {
  private let path: String

  /// Names a database.
  ///
  /// - Parameter path: of a file that nobody else writes to.
  package init(path: String) { self.path = path }

  // A store of a million names would be one of its kind.
  private static let maximumRows = 1_000_000

  /// Asks for rows of text.
  ///
  /// - Parameters:
  ///   - query: without parameters.
  ///   - columns: how many it has.
  /// - Returns: each row's columns; what is not text is read as text, NULL as "".
  /// - Throws: `SQLiteError`.
  package func rows(_ query: String, columns: Int) throws(SQLiteError) -> [[String]] {
    var database: OpaquePointer?
    // Written to where a log lies beside it, which SQLite then takes in.
    let opened = sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, nil)
    defer { sqlite3_close(database) }
    guard opened == SQLITE_OK else { throw Self.error(database) }
    // The file comes from outside: no functions of its schema are run.
    sqlite3_exec(database, "PRAGMA trusted_schema = OFF", nil, nil, nil)
    // A view in place of the table could run for ever.
    var steps = 0
    let limited = withUnsafeMutablePointer(to: &steps) { counter in
      sqlite3_progress_handler(database, 10_000, countSteps, counter)
      defer { sqlite3_progress_handler(database, 0, nil, nil) }
      return Self.read(database, query, columns)
    }
    return try limited.get()
  }

  private static func read(
    _ database: OpaquePointer?,
    _ query: String,
    _ columns: Int
  ) -> Result<[[String]], SQLiteError> {
    do throws(SQLiteError) {
      return .success(try rows(database, query, columns))
    } catch {
      return .failure(error)
    }
  }

  private static func rows(
    _ database: OpaquePointer?,
    _ query: String,
    _ columns: Int
  ) throws(SQLiteError) -> [[String]] {
    var statement: OpaquePointer?
    guard sqlite3_prepare_v2(database, query, -1, &statement, nil) == SQLITE_OK else {
      throw Self.error(database)
    }
    defer { sqlite3_finalize(statement) }
    var rows: [[String]] = []
    while true {
      switch sqlite3_step(statement) {
      case SQLITE_ROW:
        guard rows.count < Self.maximumRows else {
          throw SQLiteError(reason: "it has more than \(Self.maximumRows) rows")
        }
        rows.append(
          (0..<Int32(columns)).map { column in
            sqlite3_column_text(statement, column).map { String(cString: $0) } ?? ""
          }
        )
      case SQLITE_DONE: return rows
      default: throw Self.error(database)
      }
    }
  }

  private static func error(_ database: OpaquePointer?) -> SQLiteError {
    SQLiteError(reason: sqlite3_errmsg(database).map { String(cString: $0) } ?? "SQLite has no memory")
  }
}

// Some seconds: a table of a million names takes a tenth of that.
private let maximumSteps = 50_000

private func countSteps(_ user: UnsafeMutableRawPointer?) -> Int32 {
  // SAFETY: set by `rows`, whose variable it is; the call is over before that goes.
  guard let counter = user?.assumingMemoryBound(to: Int.self) else { return 1 }
  counter.pointee += 1
  return counter.pointee > maximumSteps ? 1 : 0
}
