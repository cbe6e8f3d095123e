// A graph as a GraphViz drawing.

public import WeftGraph
internal import WeftTensors

extension GraphFile {
  /// A drawing of the graph in GraphViz's language: nodes with their ops, solid data edges with
  /// types, dashed control edges.
  public static func dot(_ graph: GraphSnapshot) -> String {
    var lines = [
      "digraph graph_def {", "  rankdir=TB;",
      "  node [shape=box, style=rounded, fontname=\"Helvetica\", fontsize=10];",
      "  edge [fontname=\"Helvetica\", fontsize=8];",
    ]
    for node in graph.nodes {
      let looks =
        switch node.def?.lowering {
        case .placeholder: ", style=\"rounded,filled\", fillcolor=\"#d9ead3\""
        case .constant: ", style=\"rounded,filled\", fillcolor=\"#eeeeee\""
        case .variable: ", style=\"rounded,filled\", fillcolor=\"#cfe2f3\""
        case nil: ", color=\"#cc0000\""
        default: ""
        }
      lines.append("  n\(node.id) [label=\"\(escaped(node.name))\\n\(escaped(node.op))\"\(looks)];")
    }
    for node in graph.nodes {
      for edge in node.inputs {
        let ports = graph.nodes[edge.node].outputs
        let type = ports.indices.contains(edge.port) ? ports[edge.port].description : ""
        let label = edge.port == 0 ? type : ":\(edge.port)  \(type)"
        lines.append("  n\(edge.node) -> n\(node.id) [label=\"\(escaped(label))\"];")
      }
      for source in node.controlInputs {
        lines.append("  n\(source) -> n\(node.id) [style=dashed, color=\"#888888\"];")
      }
    }
    lines.append("}")
    return lines.joined(separator: "\n") + "\n"
  }

  private static func escaped(_ text: String) -> String {
    var out = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": out += "\\" + String(scalar)
      case _ where scalar.value < 0x20: out += " "
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out
  }
}
