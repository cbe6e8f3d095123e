// What is wrong with a file and where in it, on its way to becoming a WeftError.

internal import WeftTensors

/// An error of a file with all that is known of the place. Public functions throw it as a
/// `WeftError`.
struct FormatError: Error, Hashable {
  /// What kind of thing went wrong.
  enum Kind {
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
    /// Nothing here can read or write this.
    case unsupported
    /// The output cannot be created.
    case cannotCreate
    /// The output was created, but writing it failed.
    case cannotWrite
  }

  var kind: Kind
  /// One sentence without the place.
  var message: String
  var file: String?
  /// From 1.
  var line: Int?
  /// In characters, from 1.
  var column: Int?
  /// Such as `$.graphDef.node[212].attr.T`.
  var jsonPath: String?
  /// The name of the node concerned, and its op.
  var node: String?
  var hint: String?

  init(
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

  /// The same error with the file's name filled in.
  func inFile(_ name: String) -> FormatError {
    var copy = self
    copy.file = copy.file ?? name
    return copy
  }

  /// The error as the library shows it.
  var weftError: WeftError {
    let (code, category): (WeftError.Code, WeftError.Category) =
      switch kind {
      case .unreadable: (.notFound, .noInput)
      case .malformed: (.dataLoss, .content)
      case .unknownField, .duplicate, .invalid: (.invalidArgument, .content)
      case .limit: (.resourceExhausted, .content)
      case .unsupported: (.unimplemented, .content)
      case .cannotCreate: (.failedPrecondition, .cannotCreate)
      case .cannotWrite: (.dataLoss, .cannotWrite)
      }
    var error = WeftError(code, message, category: category, hint: hint)
    if let node { error = error.adding("node", node) }
    if let jsonPath { error = error.adding("at", jsonPath) }
    var place = file ?? ""
    if let line {
      place += place.isEmpty ? "line \(line)" : ":\(line)"
      if let column { place += file == nil ? ", column \(column)" : ":\(column)" }
    }
    return place.isEmpty ? error : error.adding("file", place)
  }
}

/// Runs `body` with its errors turned into what public functions throw.
func publicErrors<Result>(
  file: String? = nil, _ body: () throws(FormatError) -> Result
) throws(WeftError) -> Result {
  do {
    return try body()
  } catch {
    throw (file.map { error.inFile($0) } ?? error).weftError
  }
}

/// Runs `body`, a call into the tensor library, with its errors taken as contradictions in a file.
func tensorErrors<Result>(_ body: () throws(WeftError) -> Result) throws(FormatError) -> Result {
  do {
    return try body()
  } catch {
    throw FormatError(
      error.code == .resourceExhausted ? .limit : .invalid, error.message, hint: error.hint)
  }
}
