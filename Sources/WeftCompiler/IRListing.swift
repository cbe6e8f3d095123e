// The working graph as text, for those who want to see what a pass does.

internal import WeftGraph
internal import WeftTensors

extension IR {
  /// A line for each node in use, inputs before users: name, op, inputs and types.
  var listing: [String] {
    let sequence = order()
    // Nodes that passes add may share a name; only those get their number too.
    var uses: [String: Int] = [:]
    for id in sequence { uses[nodes[id].name, default: 0] += 1 }
    func name(_ id: Int) -> String {
      nodes[id].name + (uses[nodes[id].name, default: 0] > 1 ? "#\(id)" : "")
    }
    return sequence.map { id in
      let node = nodes[id]
      let types = node.outputs.map { "\($0)" }.joined(separator: ", ")
      return "\(name(id)) = \(text(of: node, name))" + (types.isEmpty ? "" : " -> \(types)")
    }
  }

  private func text(of node: IRNode, _ name: (Int) -> String) -> String {
    switch node.kind {
    case .feed(let index): return "feed \(index)"
    case .variable(let cell): return "variable \(cell.name)"
    case .constant(let value):
      guard value.count <= 8 else { return "constant" }
      let elements = value.integers.map { "\($0)" } ?? value.doubles.map { "\($0)" }
      return "constant" + (elements.map { " \($0)" } ?? "")
    case .op:
      let inputs = node.inputs.map { name($0.node) + ($0.port > 0 ? ":\($0.port)" : "") }
      let controls = node.controls.map { "^" + name($0) }
      return "\(node.def.name)(\((inputs + controls).joined(separator: ", ")))"
    }
  }
}
