// A plan as text.

internal import WeftGraph
internal import WeftTensors

extension Plan {
  /// The passes, the steps and the memory.
  public var description: String { report() }

  /// The same with the time to expect of each step at `rates`, as `weft plan` prints them.
  public func report(rates: MachineRates? = nil) -> String {
    var lines: [String] = ["passes"]
    for pass in passes {
      lines.append(
        "  \(pass.name.padded(to: 12)) \(pass.before) -> \(pass.after) nodes  "
          + "\(Plan.fixed(pass.milliseconds)) ms  \(pass.purpose)")
    }
    lines.append("steps")
    lines += stepLines(rates)
    lines.append("fetches")
    for fetch in fetches { lines.append("  \(describe(fetch))") }
    lines.append(
      "memory  arena \(arenaBytes) bytes; \(unsharedBytes) bytes without sharing; "
        + "\(slotCount) sized in the run; "
        + (keptBytes.map { "\($0) bytes at most" } ?? "what only the run knows")
        + " in lists and loops")
    lines.append("work    \(steps.count) steps, \(flops) FLOP, \(productFlops) of matrix products")
    if let rates {
      let total = steps.reduce(0) { $0 + predictedSeconds($1, rates: rates) }
      lines.append(
        "time    \(Plan.fixed(total * 1e3)) ms expected at "
          + "\(Plan.fixed(rates.productFlops / 1e9)) GFLOP/s and "
          + "\(Plan.fixed(rates.bytes / 1e9)) GB/s, measured now")
    }
    return lines.joined(separator: "\n")
  }

  /// One line for each step, and those of nested plans below.
  func stepLines(_ rates: MachineRates? = nil) -> [String] {
    var lines: [String] = []
    let width = steps.reduce(0) { max($0, $1.def.name.count) }
    for (index, step) in steps.enumerated() {
      let kernel = step.kernel?.name ?? "chosen in the run"
      let inputs = (0..<step.inputCount).map { describe(arguments[step.argumentBase + $0]) }
      let outputs = (0..<step.outputCount).map {
        describe(arguments[step.argumentBase + step.inputCount + $0])
      }
      var line =
        "  \(String(index).leftPadded(to: 5)) \(step.def.name.padded(to: width)) \(kernel)"
        + "  (\(inputs.joined(separator: ", "))) -> \(outputs.joined(separator: ", "))"
      if let flops = step.kernel?.flops, flops > 0 { line += "  \(flops) FLOP" }
      line += "  \(bytesMoved(step)) bytes"
      if let rates { line += "  \(Plan.fixed(predictedSeconds(step, rates: rates) * 1e6)) us" }
      line += "  \(step.name)"
      lines.append(line)
      if let details = step.kernel?.details { lines += details().map { "      | \($0)" } }
    }
    return lines
  }

  /// The plan as part of another one's step.
  func nestedLines(_ title: String) -> [String] {
    [
      "\(title): \(steps.count) steps, \(flops) FLOP each time, arena \(arenaBytes) bytes, "
        + "\(slotCount) sized in the run"
    ] + stepLines()
  }

  private func describe(_ argument: Argument) -> String {
    let place: String
    switch argument.place {
    case .arena(let offset): place = "@\(offset)"
    case .constant: place = "const"
    case .feed(let index): place = "feed \(index)"
    case .variable(let cell): place = "var \(cell.name)"
    case .slot(let index): place = "slot \(index)"
    case .none: place = argument.cell.map { "&\($0.name)" } ?? "-"
    }
    return "\(argument.type.dtype.name)\(argument.type.shape) \(place)"
  }

  // Two decimals, without Foundation.
  static func fixed(_ value: Double) -> String {
    let hundredths = Int((value * 100).rounded())
    let fraction = String(hundredths % 100)
    return "\(hundredths / 100).\(fraction.count == 1 ? "0" : "")\(fraction)"
  }
}

extension String {
  func padded(to width: Int) -> String {
    self + String(repeating: " ", count: max(0, width - count))
  }
  func leftPadded(to width: Int) -> String {
    String(repeating: " ", count: max(0, width - count)) + self
  }
}
