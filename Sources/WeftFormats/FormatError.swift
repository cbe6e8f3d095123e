// The one error of this module: what is wrong with a file, and where in it.

/// What is wrong with a file, and where.
public struct FormatError: Error, Sendable, Hashable {
  /// What kind of thing went wrong; callers choose exit codes by it.
  public enum Kind: String, Sendable, Hashable {
    /// The file is not there, or cannot be read.
    case unreadable
    /// The content breaks its own format: truncated, not JSON, not UTF-8, a wrong checksum.
    case malformed
    /// A key or field that the schema does not know.
    case unknownField
    /// A name that must be unique occurs twice.
    case duplicate
    /// The content is well formed but contradicts itself: sizes, shapes, references.
    case invalid
    /// Larger, or nested deeper, than what is accepted.
    case limit
    /// Nothing here can read or write this format.
    case unsupported
    /// The output cannot be created.
    case cannotCreate
    /// The output was created, but writing it failed.
    case cannotWrite
  }

  /// The kind of failure.
  public var kind: Kind
  /// One sentence without the place.
  public var message: String
  /// The file, as it was named by the caller.
  public var file: String?
  /// The line, from 1, in a text file.
  public var line: Int?
  /// The column in characters, from 1, in a text file.
  public var column: Int?
  /// The place as a JSON path, such as `$.graphDef.node[212].attr.T`.
  public var jsonPath: String?
  /// The name of the node concerned.
  public var node: String?
  /// What to do about it.
  public var hint: String?

  /// Makes an error; places that are not known stay nil.
  public init(
    _ kind: Kind, _ message: String, file: String? = nil, line: Int? = nil, column: Int? = nil,
    jsonPath: String? = nil, node: String? = nil, hint: String? = nil
  ) {
    self.kind = kind
    self.message = message
    self.file = file
    self.line = line
    self.column = column
    self.jsonPath = jsonPath
    self.node = node
    self.hint = hint
  }

  /// TensorFlow's name of the status code that fits.
  public var code: String {
    switch kind {
    case .unreadable: "NotFound"
    case .malformed: "DataLoss"
    case .unknownField, .duplicate, .invalid: "InvalidArgument"
    case .limit: "ResourceExhausted"
    case .unsupported: "Unimplemented"
    case .cannotCreate, .cannotWrite: "Unavailable"
    }
  }

  /// The same error with the file's name filled in.
  func inFile(_ name: String) -> FormatError {
    var copy = self
    copy.file = copy.file ?? name
    return copy
  }
}

extension FormatError: CustomStringConvertible {
  /// The error as it is shown: one line, then a line for each thing that is known of the place.
  public var description: String {
    var lines = ["error[\(code)]: \(message)"]
    var place = file ?? ""
    if let line {
      place += place.isEmpty ? "line \(line)" : ":\(line)"
      if let column { place += file == nil ? ", column \(column)" : ":\(column)" }
    }
    if !place.isEmpty { lines.append("  file   \(place)") }
    if let node {
      lines.append("  node   \(node)" + (jsonPath.map { "        \($0)" } ?? ""))
    } else if let jsonPath {
      lines.append("  path   \(jsonPath)")
    }
    if let hint { lines.append("  hint   \(hint)") }
    return lines.joined(separator: "\n")
  }
}
