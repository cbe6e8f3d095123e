// Running the built command, in folders of its own.

import Foundation
import Testing

/// What one run of the command left.
struct Outcome {
  var code: Int32
  var out: String
  var err: String
}

/// The built commands.
enum Command {
  /// Where `weft` was built.
  static let path = find("weft")

  /// Where the program `name` was built: beside the test bundle.
  static func find(_ name: String) -> String? {
    var places = [CommandLine.arguments.first ?? "", Bundle.main.bundlePath]
    if let at = CommandLine.arguments.firstIndex(of: "--test-bundle-path"),
      CommandLine.arguments.indices.contains(at + 1)
    {
      places.append(CommandLine.arguments[at + 1])
    }
    for place in places {
      var folder = URL(fileURLWithPath: place).deletingLastPathComponent()
      for _ in 0..<5 {
        let candidate = folder.appendingPathComponent(name).path
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: candidate, isDirectory: &isFolder),
          !isFolder.boolValue, FileManager.default.isExecutableFile(atPath: candidate)
        {
          return candidate
        }
        folder.deleteLastPathComponent()
      }
    }
    return nil
  }

  static func process(
    _ arguments: [String], in folder: Folder, program: String? = path
  ) throws -> Process {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try #require(program, "the command is not built"))
    process.arguments = arguments
    process.currentDirectoryURL = folder.url
    process.standardInput = FileHandle.nullDevice
    return process
  }

  /// Runs `weft` in `folder` and waits for it.
  static func run(_ arguments: String..., in folder: Folder) throws -> Outcome {
    try run(arguments, in: folder)
  }

  static func run(
    _ arguments: [String], in folder: Folder, program: String? = path
  ) throws -> Outcome {
    let process = try process(arguments, in: folder, program: program)
    // Files, not pipes: a full pipe would block the command.
    let out = folder.url.appendingPathComponent(".stdout")
    let err = folder.url.appendingPathComponent(".stderr")
    for file in [out, err] { try Data().write(to: file) }
    process.standardOutput = try FileHandle(forWritingTo: out)
    process.standardError = try FileHandle(forWritingTo: err)
    try process.run()
    process.waitUntilExit()
    let code = process.terminationReason == .exit ? process.terminationStatus : -1
    let outcome = Outcome(
      code: code, out: String(decoding: try Data(contentsOf: out), as: UTF8.self),
      err: String(decoding: try Data(contentsOf: err), as: UTF8.self))
    for file in [out, err] { try FileManager.default.removeItem(at: file) }
    return outcome
  }
}

/// A temporary folder, removed with the value.
final class Folder {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent(
      "weft-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  /// Writes a text file.
  @discardableResult
  func write(_ text: String, to name: String) throws -> String {
    let file = url.appendingPathComponent(name)
    try FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: file)
    return name
  }

  func text(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: url.appendingPathComponent(name)), as: UTF8.self)
  }

  func data(_ name: String) throws -> Data {
    try Data(contentsOf: url.appendingPathComponent(name))
  }

  func path(_ name: String) -> String { url.appendingPathComponent(name).path }

  /// Every file below the folder, sorted.
  var files: [String] {
    let names = FileManager.default.enumerator(atPath: url.path)?.compactMap { $0 as? String } ?? []
    return names.filter { name in
      var isFolder: ObjCBool = false
      return FileManager.default.fileExists(atPath: path(name), isDirectory: &isFolder)
        && !isFolder.boolValue
    }.sorted()
  }
}
