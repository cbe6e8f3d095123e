// Helpers of the text tests: corpora from strings, temporary folders, shared files.

import Testing
import WeftTensors
import WeftTraining

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A corpus from a string.
func corpus(_ text: String) throws -> Corpus {
  try Corpus(bytes: Array(text.utf8), name: "inline")
}

/// The error that `body` throws; records an issue when it throws none.
func weftError(
  _ location: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) -> WeftError? {
  do {
    try body()
  } catch let error as WeftError {
    return error
  } catch {
    Issue.record("another error: \(error)", sourceLocation: location)
    return nil
  }
  Issue.record("no error was thrown", sourceLocation: location)
  return nil
}

/// A folder that is removed when the test ends.
final class TemporaryFolder {
  let path: String

  init() throws {
    path =
      FileManager.default.temporaryDirectory
      .appendingPathComponent("weft-text-\(UInt64.random(in: 0 ... .max))").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ name: String, _ text: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
  }
}

/// A file beside the package that development machines have, or nil with a message.
func sharedFile(_ path: String, _ file: String = #filePath) -> String? {
  let root = file.split(separator: "/", omittingEmptySubsequences: false).dropLast(4)
  let full = root.joined(separator: "/") + "/shared/" + path
  if FileManager.default.fileExists(atPath: full) { return full }
  print("skipped: \(full) is not here")
  return nil
}

extension Vocabulary {
  /// The entries of a row, for readable expectations.
  func show(_ row: some Sequence<Int32>) -> String {
    row.map { word(of: $0) ?? "?" }.joined(separator: " ")
  }
}
