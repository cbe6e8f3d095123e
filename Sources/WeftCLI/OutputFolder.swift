// --outdir: one .npy file per output, checked before anything runs.

import Weft

/// The folder that outputs are written to.
struct OutputFolder {
  let path: String
  let overwrites: Bool
  private var planned: [String: String] = [:]

  /// Makes the folder when it is missing, and checks that it takes files.
  init(_ path: String, overwrites: Bool) throws(WeftError) {
    self.path = path
    self.overwrites = overwrites
    try OutputFolder.make(path)
    guard Platform.isWritable(path) else {
      throw WeftError(
        .failedPrecondition, "the folder '\(path)' cannot be written: \(Platform.lastError)",
        category: .cannotCreate)
    }
  }

  /// Makes a folder and those above it.
  static func make(_ path: String) throws(WeftError) {
    if Platform.isFolder(path) { return }
    var made = path.hasPrefix("/") ? "/" : ""
    for part in path.split(separator: "/") {
      made += made.isEmpty || made.hasSuffix("/") ? String(part) : "/\(part)"
      guard Platform.makeFolder(made) else {
        throw WeftError(
          .failedPrecondition, "cannot create the folder '\(made)': \(Platform.lastError)",
          category: .cannotCreate)
      }
    }
  }

  /// A name without `/` and `:`, which become `_`.
  static func safeName(_ name: String) -> String {
    String(name.map { $0 == "/" || $0 == ":" ? "_" : $0 })
  }

  /// The file name of an output.
  static func fileName(_ output: String) -> String { safeName(output) + ".npy" }

  /// Reserves the file of an output.
  /// - Throws: a usage error when another output has it; one of creation when it exists.
  mutating func plan(_ file: String, for output: String) throws(WeftError) -> String {
    let key = file.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
    if let other = planned[key] {
      throw WeftError(
        .alreadyExists, "outputs '\(other)' and '\(output)' would share the file \(file)",
        category: .usage)
    }
    planned[key] = output
    let full = path + "/" + key
    if Platform.isFolder(full) {
      throw WeftError(
        .alreadyExists, "'\(full)' is a folder, no file can be there", category: .cannotCreate)
    }
    if !overwrites, Platform.exists(full) {
      throw WeftError(
        .alreadyExists, "'\(full)' exists", category: .cannotCreate,
        hint: "--overwrite replaces it")
    }
    return full
  }

  /// Reserves a file that a script names; it may not leave the folder.
  mutating func planScripted(_ file: String, for output: String) throws(WeftError) -> String {
    let parts = file.split(separator: "/", omittingEmptySubsequences: true)
    guard !file.hasPrefix("/"), !parts.isEmpty, !parts.contains(".."), !file.hasSuffix("/"),
      !file.utf8.contains(0)
    else {
      throw WeftError(
        .invalidArgument, "the script's path '\(file)' leaves the output folder",
        hint: "name a file below --outdir")
    }
    guard file.hasSuffix(".npy") else {
      throw WeftError(.invalidArgument, "the script's path '\(file)' is no .npy file")
    }
    let full = try plan(file, for: output)
    guard let slash = full.lastIndex(of: "/") else { return full }
    // Links below the folder may lead out of it: what exists is resolved, then the rest is made.
    let root = Platform.resolved(path) ?? path
    var existing = String(full[..<slash])
    while !Platform.exists(existing), let cut = existing.lastIndex(of: "/") {
      existing = String(existing[..<cut])
    }
    for link in [existing, full] {
      guard let resolved = Platform.resolved(link) else { continue }
      guard resolved == root || resolved.hasPrefix(root == "/" ? "/" : root + "/") else {
        throw WeftError(
          .invalidArgument, "the script's path '\(file)' leaves the output folder through a link")
      }
    }
    try OutputFolder.make(String(full[..<slash]))
    return full
  }

  /// Writes tensors to the files planned for them; none when one of them has no array type.
  static func write(_ files: [(path: String, tensor: Tensor)]) throws(WeftError) {
    for (path, tensor) in files where !tensor.dtype.isPlain || tensor.dtype == .bfloat16 {
      throw WeftError(
        .unimplemented, "a \(tensor.dtype.name) tensor cannot be written as '\(path)'",
        category: .cannotWrite, hint: "NumPy's files have no such type; fetch a Cast of it")
    }
    do {
      try Signals.deferredWhileWriting {
        for (path, tensor) in files { try NumPyFile.write(tensor, to: path) }
      }
    } catch let error as WeftError {
      throw error
    } catch {
      throw WeftError(.internal, "\(error)", category: .cannotWrite)
    }
  }
}
