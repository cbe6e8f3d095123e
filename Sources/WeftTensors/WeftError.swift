// The one error type of the library: a code, a sentence, lines of context and a hint.

/// An error with TensorFlow's stable code name, the place it arose and a hint.
public struct WeftError: Error, Sendable, CustomStringConvertible {
  /// TensorFlow's status codes that Weft uses.
  public enum Code: String, Sendable {
    case invalidArgument = "InvalidArgument"
    case notFound = "NotFound"
    case alreadyExists = "AlreadyExists"
    case failedPrecondition = "FailedPrecondition"
    case outOfRange = "OutOfRange"
    case resourceExhausted = "ResourceExhausted"
    case dataLoss = "DataLoss"
    case unimplemented = "Unimplemented"
    case cancelled = "Cancelled"
    case aborted = "Aborted"
    case `internal` = "Internal"
  }

  /// What a command line makes of an error: its exit code.
  public enum Category: Int32, Sendable {
    /// An op failed while a plan ran.
    case run = 1
    /// The command line itself is wrong: unknown flag, signature or tensor name.
    case usage = 64
    /// A graph, checkpoint, feed or text whose content is wrong.
    case content = 65
    /// An input that is missing or unreadable.
    case noInput = 66
    /// An output that cannot be created.
    case cannotCreate = 73
    /// An output that cannot be written.
    case cannotWrite = 74
  }

  /// One labelled line under the message, such as `node  decoder/dense/MatMul  (MatMul)`.
  public struct Detail: Sendable, Hashable {
    /// The short label, such as `node`, `a`, `made at`.
    public var label: String
    /// The text beside it.
    public var text: String
    /// A labelled line.
    public init(_ label: String, _ text: String) {
      self.label = label
      self.text = text
    }
  }

  /// The status code.
  public var code: Code
  /// The exit class; `content` unless set.
  public var category: Category
  /// One sentence that says what is wrong, with the values that make it wrong.
  public var message: String
  /// Labelled lines, in the order they are shown.
  public var details: [Detail]
  /// What the user can do, if that is known.
  public var hint: String?

  /// An error of `code` that says `message`.
  public init(
    _ code: Code, _ message: String, category: Category = .content, details: [Detail] = [],
    hint: String? = nil
  ) {
    self.code = code
    self.category = category
    self.message = message
    self.details = details
    self.hint = hint
  }

  /// The error with one more labelled line.
  public func adding(_ label: String, _ text: String) -> WeftError {
    var copy = self
    copy.details.append(Detail(label, text))
    return copy
  }

  /// The error with another exit class.
  public func inCategory(_ category: Category) -> WeftError {
    var copy = self
    copy.category = category
    return copy
  }

  /// The error as a terminal shows it: a line, then the details in columns, then the hint.
  public var description: String {
    var lines = ["error[\(code.rawValue)]: \(message)"]
    var rows = details
    if let hint { rows.append(Detail("hint", hint)) }
    let width = rows.map(\.label.count).max() ?? 0
    for row in rows {
      let pad = String(repeating: " ", count: width - row.label.count)
      lines.append("  \(row.label)\(pad)  \(row.text)")
    }
    return lines.joined(separator: "\n")
  }
}
