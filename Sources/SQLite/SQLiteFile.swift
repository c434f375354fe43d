import CSQLite

/// A failure to read a database.
package struct SQLiteError: Error, Sendable {
  /// The message of SQLite, one line.
  package let reason: String
}

/// A database in a file that belongs to weightfs; only text is read, nothing is written.
package struct SQLiteFile: Sendable {
  private let path: String

  /// Creates an object for a database file, without opening it.
  ///
  /// - Parameter path: A file that no other process writes to.
  package init(path: String) { self.path = path }

  // Far more than any store is expected to have.
  private static let maximumRows = 1_000_000

  /// Runs a query and returns its rows as text.
  ///
  /// - Parameters:
  ///   - query: A query without parameters.
  ///   - columns: The number of columns in the result.
  /// - Returns: The columns of each row; values of other types are converted to text, NULL to "".
  /// - Throws: `SQLiteError`.
  package func rows(_ query: String, columns: Int) throws(SQLiteError) -> [[String]] {
    var database: OpaquePointer?
    // Opened for writing, as SQLite must apply the log file beside the database.
    let opened = sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW, nil)
    defer { sqlite3_close(database) }
    guard opened == SQLITE_OK else { throw Self.error(database) }
    // The file is untrusted: functions in its schema must not run.
    sqlite3_exec(database, "PRAGMA trusted_schema = OFF", nil, nil, nil)
    // A view that replaces the table could make the query run indefinitely.
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
          throw SQLiteError(reason: "more than \(Self.maximumRows) rows")
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
    SQLiteError(reason: sqlite3_errmsg(database).map { String(cString: $0) } ?? "SQLite: out of memory")
  }
}

// Some seconds; reading a table of a million names takes a tenth of that.
private let maximumSteps = 50_000

private func countSteps(_ user: UnsafeMutableRawPointer?) -> Int32 {
  // SAFETY: set by `rows` to its local variable, which outlives the call.
  guard let counter = user?.assumingMemoryBound(to: Int.self) else { return 1 }
  counter.pointee += 1
  return counter.pointee > maximumSteps ? 1 : 0
}
