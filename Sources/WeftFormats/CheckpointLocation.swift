// What a path to a checkpoint means: told by what is there, not by its name.

internal import SwiftProtobuf
public import WeftTensors

/// Where the values of variables are, and in which format.
public enum CheckpointLocation: Sendable, Hashable {
  /// TensorFlow's V2 checkpoint at this prefix.
  case tensorBundle(prefix: String)
  /// A `.safetensors` file.
  case safetensors(String)
  /// An `.npz` file.
  case archive(String)

  /// Finds the checkpoint that `path` names: a `.safetensors` or `.npz` file, the prefix of a
  /// TensorFlow checkpoint (or its `.index` or a data file), a folder with TensorFlow's file
  /// `checkpoint`, or a SavedModel.
  /// - Throws: NotFound (no input) when nothing is there, DataLoss for a file of another kind.
  public init(_ path: String) throws(WeftError) {
    self = try publicErrors { () throws(FormatError) in try Self.find(path) }
  }

  private static func find(_ path: String) throws(FormatError) -> CheckpointLocation {
    switch FileIO.kind(of: path) {
    case .folder:
      if SavedModelFolder(path) != nil { return .tensorBundle(prefix: variablesPrefix(path)) }
      if FileIO.kind(of: joined(path, stateName)) == .file {
        return .tensorBundle(prefix: try latest(in: path))
      }
    case .file:
      if let found = try ofFile(path) { return found }
    case .other:
      // A pipe can be read only once, so its name has to say what comes.
      return path.hasSuffix(".npz") ? .archive(path) : .safetensors(path)
    case .missing: break
    }
    if FileIO.kind(of: path + ".index") == .file { return .tensorBundle(prefix: path) }
    switch FileIO.kind(of: path) {
    case .missing:
      throw FormatError(
        .unreadable, "there is no checkpoint '\(path)'",
        hint: "name a .safetensors or .npz file, or the prefix of a TensorFlow checkpoint")
    case .folder:
      throw FormatError(
        .unreadable, "the folder holds no checkpoint", file: path,
        hint: "TensorFlow's have a file called '\(stateName)' beside them, or saved_model.pb")
    default:
      throw FormatError(
        .malformed, "this is no checkpoint, or a damaged one", file: path,
        hint: "name a .safetensors or .npz file, or the prefix of a TensorFlow checkpoint")
    }
  }

  /// What a regular file is; nil when it is none of the formats.
  private static func ofFile(_ path: String) throws(FormatError) -> CheckpointLocation? {
    let source = try FileIO.Source(path)
    let head = try bytes(of: source, at: 0)
    let tail = try bytes(of: source, at: max(0, source.size - 16))
    if head.starts(with: [0x50, 0x4B]) { return .archive(path) }
    // The length of a header, and the header.
    if head.count > 8, head[8] == UInt8(ascii: "{"), head[4..<8].allSatisfy({ $0 == 0 }) {
      return .safetensors(path)
    }
    if SortedTable.isTail(tail[...]) {
      if path.hasSuffix(".index") { return .tensorBundle(prefix: String(path.dropLast(6))) }
      if FileIO.kind(of: path + ".index") == .file { return nil }
      throw FormatError(
        .unsupported, "this is a checkpoint of TensorFlow's first format, or an index renamed",
        file: path, hint: "let TensorFlow restore it and save it again (write_version V2)")
    }
    if let data = path.lastRange(of: ".data-") {
      let prefix = String(path[..<data])
      if FileIO.kind(of: prefix + ".index") == .file { return .tensorBundle(prefix: prefix) }
    }
    // Damaged files keep the format of their name, whose reader says what is wrong.
    if path.hasSuffix(".safetensors") { return .safetensors(path) }
    if path.hasSuffix(".npz") { return .archive(path) }
    if path.hasSuffix(".index") { return .tensorBundle(prefix: String(path.dropLast(6))) }
    return nil
  }

  private static func bytes(
    of source: FileIO.Source, at offset: Int
  ) throws(FormatError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: min(16, source.size - offset))
    var problem: FormatError?
    bytes.withUnsafeMutableBytes { memory in
      do throws(FormatError) {
        try source.read(into: memory, at: offset)
      } catch {
        problem = error
      }
    }
    if let problem { throw problem }
    return bytes
  }

  // MARK: - Folders

  private static let stateName = "checkpoint"

  private static func joined(_ folder: String, _ name: String) -> String {
    folder.hasSuffix("/") ? folder + name : folder + "/" + name
  }

  static func variablesPrefix(_ folder: String) -> String {
    joined(folder, "variables/variables")
  }

  /// The prefix that the file `checkpoint` of a folder names as the latest.
  private static func latest(in folder: String) throws(FormatError) -> String {
    let file = joined(folder, stateName)
    let text = try FileIO.read(file, limit: 16 << 20)
    let scan = TextScan(text)
    do throws(FormatError) {
      try scan.check()
    } catch {
      throw error.inFile(file)
    }
    // The schema of this file has nothing else of interest, so the one string stands for it.
    let field = scan.fields(in: 0..<text.count).last { $0.name == "model_checkpoint_path" }
    let value = field.map { String(decoding: text[$0.range], as: UTF8.self) } ?? ""
    guard let colon = value.firstIndex(of: ":"),
      let string = try? Google_Protobuf_StringValue(textFormatString: "value" + value[colon...]),
      case let path = string.value, !path.isEmpty
    else {
      throw FormatError(.malformed, "the file has no model_checkpoint_path", file: file)
    }
    guard path.hasPrefix("/") else { return joined(folder, path) }
    // Folders are moved to other machines together with the paths in them.
    if FileIO.kind(of: path + ".index") == .file { return path }
    let name = path.split(separator: "/").last.map(String.init) ?? path
    let moved = joined(folder, name)
    return FileIO.kind(of: moved + ".index") == .file ? moved : path
  }
}

/// A SavedModel: a folder with a graph and, mostly, values of its variables.
public struct SavedModelFolder: Sendable {
  /// The file of the graph, `saved_model.pb` or `saved_model.pbtxt`.
  public let graphPath: String
  /// The prefix of the checkpoint with its variables; nil when it has none.
  public let variablesPrefix: String?

  /// The SavedModel in a folder; nil when the folder is none.
  public init?(_ folder: String) {
    let slash = folder.hasSuffix("/") ? "" : "/"
    let files = ["saved_model.pb", "saved_model.pbtxt"].map { folder + slash + $0 }
    guard let file = files.first(where: { FileIO.kind(of: $0) == .file }) else { return nil }
    graphPath = file
    let prefix = CheckpointLocation.variablesPrefix(folder)
    variablesPrefix = FileIO.kind(of: prefix + ".index") == .file ? prefix : nil
  }
}

extension String {
  /// Where the last occurrence of `part` starts.
  fileprivate func lastRange(of part: String) -> String.Index? {
    var found: String.Index?
    for index in utf8.indices where utf8[index...].starts(with: part.utf8) { found = index }
    return found
  }
}
