// What the registry says of every op, a line each: for people, and for Tests/Tools/op_table.py.

import Weft

/// A table of all ops, its columns separated by tabs.
enum OpListing {
  static let header = "op\tdtypes\tgradient\truns"

  static func lines() -> [String] {
    OpRegistry.standard.all.sorted { $0.name < $1.name }.map { op in
      [op.name, dtypes(op.signature), gradient(op), runs(op)].joined(separator: "\t")
    }
  }

  // The types its results may have, or, where it has none, its inputs.
  private static func dtypes(_ signature: OpSignature) -> String {
    let arguments = signature.outputs.isEmpty ? signature.inputs : signature.outputs
    var names: [String] = []
    for argument in arguments {
      let own: [String] =
        switch argument.type {
        case .fixed(let dtype): [dtype.name]
        case .attr(let name), .list(let name):
          signature.attr(name)?.allowedTypes?.map(\.name) ?? ["any"]
        }
      for name in own where !names.contains(name) { names.append(name) }
    }
    return names.contains("any") ? "any" : names.isEmpty ? "-" : names.joined(separator: " ")
  }

  private static func gradient(_ op: OpDef) -> String {
    switch op.gradient {
    case .rule: "rule"
    case .zero: "zero"
    case .none(let reason): "none: \(reason)"
    }
  }

  private static func runs(_ op: OpDef) -> String {
    if case .refused(let hint) = op.lowering { "refused: \(hint)" } else { "yes" }
  }
}
