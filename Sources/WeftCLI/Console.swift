// stdout for data, stderr for progress, logs and errors.

import Weft

/// The two streams of the command.
enum Console {
  private nonisolated(unsafe) static var pending = ""
  private nonisolated(unsafe) static var hasProgress = false

  /// Whether progress may redraw its line.
  static let isInteractive = Platform.isTerminal(2) && Platform.environment("TERM") != "dumb"
  /// Whether stderr takes colours.
  static let hasColor =
    isInteractive && (Platform.environment("NO_COLOR") ?? "").isEmpty

  /// A line of data.
  static func print(_ line: String) { write(line + "\n") }

  /// Data without a line end.
  static func write(_ text: String) {
    pending += text
    if pending.utf8.count > 1 << 16 { flush() }
  }

  /// Sends what is pending; ends the command quietly when nobody reads any more.
  static func flush() {
    if pending.isEmpty { return }
    let text = pending
    pending = ""
    if !Platform.write(text, to: 1) { Platform.exit(WeftError.Category.cannotWrite.rawValue) }
  }

  /// A line of log.
  static func log(_ line: String) {
    clearProgress()
    _ = Platform.write(line + "\n", to: 2)
  }

  /// A warning.
  static func warn(_ line: String) {
    log(hasColor ? "\u{1B}[33mwarning:\u{1B}[0m \(line)" : "warning: \(line)")
  }

  /// Warns of trained variables that a checkpoint leaves to their initializers.
  static func reportUntouched(by checkpoint: Checkpoint, _ graph: GraphSnapshot) throws {
    let given = try checkpoint.named(for: graph).tensors
    let missing = graph.modelVariables.filter { $0.isTrainable && given[$0.name] == nil }
    if missing.isEmpty { return }
    warn(
      "the checkpoint has no value for \(missing.count) trained "
        + (missing.count == 1 ? "variable: " : "variables: ")
        + missing.prefix(5).map(\.name).joined(separator: ", ")
        + (missing.count > 5 ? ", ..." : ""))
  }

  /// Redraws the progress line; only on a terminal.
  static func progress(_ line: String) {
    guard isInteractive else { return }
    _ = Platform.write("\r\u{1B}[2K" + line, to: 2)
    hasProgress = true
  }

  private static func clearProgress() {
    guard hasProgress else { return }
    _ = Platform.write("\r\u{1B}[2K", to: 2)
    hasProgress = false
  }

  /// Shows an error and ends the command with its exit code.
  static func fail(_ error: WeftError) -> Never {
    flush()
    var text = error.description
    if hasColor, let colon = text.firstIndex(of: ":") {
      text = "\u{1B}[31m\(text[..<colon])\u{1B}[0m\(text[colon...])"
    }
    log(text)
    Platform.exit(error.category.rawValue)
  }
}
