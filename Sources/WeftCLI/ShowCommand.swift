// weft show: a graph as text.

import ArgumentParser
import Weft

struct ShowCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show what a graph holds.",
    discussion: "Without options: a summary. --nodes, --scope or --signature print nodes too.")

  @Argument(help: "The graph file, run directory or SavedModel.")
  var model: String

  @Option(help: "Only what this signature needs.")
  var signature: String?

  @Flag(help: "Print every node.")
  var nodes = false

  @Option(help: "Print the nodes whose names begin with this.")
  var scope: String?

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let model = try Model(model)
    let graph = model.graph.snapshot
    var chosen = graph.nodes.map(\.id)
    if let signature {
      chosen = GraphText.needed(by: try SignatureCall(signature, of: graph), graph)
    }
    let subset = chosen
    if let scope { chosen = chosen.filter { graph.nodes[$0].name.hasPrefix(scope) } }
    if json {
      Console.print(
        try GraphText.json(graph, subset: subset, listed: chosen, hasNodes: listsNodes).text)
      return
    }
    if listsNodes {
      for id in chosen { Console.print(GraphText.line(graph, id)) }
      if scope != nil, signature == nil { return }
      if !chosen.isEmpty { Console.print("") }
    }
    for line in try GraphText.summary(graph, subset: subset, signature: signature) {
      Console.print(line)
    }
  }

  private var listsNodes: Bool { nodes || scope != nil || signature != nil }
}

/// Graphs and their parts as text.
enum GraphText {
  /// The nodes that a signature's outputs need, by id.
  static func needed(by call: SignatureCall, _ graph: GraphSnapshot) -> [Int] {
    var seen = Set<Int>()
    var stack = call.outputs.map(\.edge.node) + call.operations.map(\.node)
    while let id = stack.popLast() {
      guard seen.insert(id).inserted else { continue }
      stack += graph.nodes[id].inputs.map(\.node) + graph.nodes[id].controlInputs
    }
    return seen.sorted()
  }

  /// `name = Op(inputs, ^control) {attrs} : float32 [2, 3]`.
  static func line(_ graph: GraphSnapshot, _ id: Int) -> String {
    let node = graph.nodes[id]
    let inputs =
      node.inputs.map { graph.nodes[$0.node].outputName($0.port) }
      + node.controlInputs.map { "^" + graph.nodes[$0].name }
    var text = "\(node.name) = \(node.op)(\(inputs.joined(separator: ", ")))"
    // Types are told by the outputs; what begins with _ is bookkeeping.
    let attrs = node.attrs.sorted { $0.key < $1.key }.filter { key, value in
      if case .type = value { return false }
      return !key.hasPrefix("_")
    }
    if !attrs.isEmpty {
      text += " {" + attrs.map { "\($0.key): \(show($0.value))" }.joined(separator: ", ") + "}"
    }
    let outputs = node.outputs.enumerated().map { port, type -> String in
      guard type.dtype == .resource || type.isReference, node.handles.indices.contains(port),
        let handle = node.handles[port]
      else { return type.description }
      return "\(type.dtype == .resource ? "resource of " : "")\(handle.dtype.name)"
        + "\(type.isReference ? "&" : "") \(handle.shape)"
    }
    if !outputs.isEmpty { text += " : " + outputs.joined(separator: ", ") }
    return node.def == nil ? text + "  (unknown op)" : text
  }

  private static func show(_ value: AttrValue) -> String {
    switch value {
    case .string(let bytes): return "\"\(String(decoding: bytes.prefix(60), as: UTF8.self))\""
    case .int(let value): return "\(value)"
    case .float(let value): return "\(value)"
    case .bool(let value): return "\(value)"
    case .type(let type): return type.name
    case .shape(let shape): return "\(shape)"
    case .tensor(let tensor):
      guard tensor.count <= 8 else { return "\(tensor.type) ..." }
      let items = TensorText.scalars(tensor).joined(separator: ", ")
      return tensor.shape.isEmpty
        ? items : "\(tensor.shape.count == 1 ? "" : "\(tensor.shape) ")[\(items)]"
    case .function(let function): return function.name
    case .list(let items):
      return "[" + items.prefix(12).map(show).joined(separator: ", ")
        + (items.count > 12 ? ", ...]" : "]")
    case .placeholder(let name): return "$\(name)"
    case .opaque: return "..."
    }
  }

  private static func variables(_ graph: GraphSnapshot, _ subset: [Int]) -> [ModelVariable] {
    let names = Set(subset.map { graph.variableName(of: graph.nodes[$0]) })
    return graph.modelVariables.filter { names.contains($0.name) }
  }

  private static func opCounts(_ graph: GraphSnapshot, _ subset: [Int]) -> [(String, Int)] {
    var counts: [String: Int] = [:]
    for id in subset { counts[graph.nodes[id].op, default: 0] += 1 }
    return counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { ($0.key, $0.value) }
  }

  static func summary(
    _ graph: GraphSnapshot, subset: [Int], signature: String?
  ) throws -> [String] {
    let ops = opCounts(graph, subset)
    var lines = ["\(subset.count) nodes of \(ops.count) ops"]
    lines.append(
      "  " + ops.prefix(12).map { "\($0.0) \($0.1)" }.joined(separator: ", ")
        + (ops.count > 12 ? ", ..." : ""))
    let unknown = Set(graph.nodes.filter { $0.def == nil }.map(\.op)).sorted()
    if !unknown.isEmpty { lines.append("  unknown ops: " + unknown.joined(separator: ", ")) }
    let variables = GraphText.variables(graph, subset)
    if !variables.isEmpty {
      let trainable = variables.filter(\.isTrainable)
      lines.append("")
      lines.append(
        "\(variables.count) variables, \(parameters(variables)) elements; "
          + "\(trainable.count) trainable, \(parameters(trainable)) parameters")
      let width = variables.reduce(0) { max($0, TextDisplay.columns(of: $1.name)) }
      for variable in variables {
        let name = TextDisplay.padded(variable.name, to: width)
        lines.append(
          "  \(name)  \(TensorType(variable.dtype, variable.shape))"
            + (variable.isTrainable ? "" : "  (not trained)"))
      }
    }
    for (name, _) in graph.signatures where signature == nil || signature == name {
      lines.append("")
      lines.append("signature \(name)")
      do {
        let call = try SignatureCall(name, of: graph)
        for (key, edge) in call.inputs { lines.append("  in   \(key)  \(describe(graph, edge))") }
        for (key, edge) in call.outputs { lines.append("  out  \(key)  \(describe(graph, edge))") }
        for (key, node) in call.operations {
          lines.append("  run  \(key)  \(graph.nodes[node].name)")
        }
      } catch {
        lines.append("  \(error.message)")
      }
    }
    if !graph.collections.isEmpty, signature == nil {
      lines.append("")
      let shown = graph.collections.map { key, value in
        switch value {
        case .nodes(let items): "\(key) (\(items.count))"
        case .bytes(let items): "\(key) (\(items.count))"
        case .ints(let items): "\(key) (\(items.count))"
        case .floats(let items): "\(key) (\(items.count))"
        case .opaque: key
        }
      }
      lines.append("collections  " + shown.joined(separator: ", "))
    }
    return lines
  }

  private static func describe(_ graph: GraphSnapshot, _ edge: Edge) -> String {
    "\(graph.type(edge))  \(graph.nodes[edge.node].name):\(edge.port)"
  }

  private static func parameters(_ variables: [ModelVariable]) -> Int {
    variables.reduce(0) { $0 + ($1.shape.count ?? 0) }
  }

  static func json(
    _ graph: GraphSnapshot, subset: [Int], listed: [Int], hasNodes: Bool
  ) throws -> JSONValue {
    let ops = opCounts(graph, subset).map { ($0.0, JSONValue.int($0.1)) }
    let unknown = Set(graph.nodes.filter { $0.def == nil }.map(\.op)).sorted()
    let variables = GraphText.variables(graph, subset)
    var signatures: [(String, JSONValue)] = []
    for name in graph.signatures.keys {
      guard let call = try? SignatureCall(name, of: graph) else { continue }
      signatures.append((name, signature(call, graph)))
    }
    var members: [(String, JSONValue)] = [
      ("nodes", .int(subset.count)), ("ops", .object(ops)),
      ("unknown_ops", .array(unknown.map { JSONValue.string($0) })),
      ("parameters", .int(parameters(variables.filter(\.isTrainable)))),
      ("variables", .array(variables.map { GraphText.variable($0) })),
      ("signatures", .object(signatures)),
    ]
    if hasNodes { members.append(("node", .array(listed.map { node($0, graph) }))) }
    return .object(members)
  }

  private static func type(_ type: TensorType) -> [(String, JSONValue)] {
    var shape = JSONValue.null
    if let dims = type.shape.dims { shape = .array(dims.map { JSONValue.int($0.size ?? -1) }) }
    return [("dtype", .string(type.dtype.name)), ("shape", shape)]
  }

  private static func tensor(_ edge: Edge, _ graph: GraphSnapshot) -> JSONValue {
    let name = "\(graph.nodes[edge.node].name):\(edge.port)"
    return .object([("name", .string(name))] + type(graph.type(edge)))
  }

  private static func variable(_ variable: ModelVariable) -> JSONValue {
    var members: [(String, JSONValue)] = [("name", .string(variable.name))]
    members += type(TensorType(variable.dtype, variable.shape))
    members.append(("trainable", .bool(variable.isTrainable)))
    return .object(members)
  }

  private static func signature(_ call: SignatureCall, _ graph: GraphSnapshot) -> JSONValue {
    let operations = call.operations.map { ($0.key, JSONValue.string(graph.nodes[$0.node].name)) }
    return .object([
      ("inputs", .object(call.inputs.map { ($0.key, tensor($0.edge, graph)) })),
      ("outputs", .object(call.outputs.map { ($0.key, tensor($0.edge, graph)) })),
      ("operations", .object(operations)),
    ])
  }

  private static func node(_ id: Int, _ graph: GraphSnapshot) -> JSONValue {
    let node = graph.nodes[id]
    var inputs = node.inputs.map { graph.nodes[$0.node].outputName($0.port) }
    inputs += node.controlInputs.map { "^\(graph.nodes[$0].name)" }
    return .object([
      ("name", .string(node.name)), ("op", .string(node.op)),
      ("inputs", .array(inputs.map { JSONValue.string($0) })),
      ("outputs", .array(node.outputs.map { JSONValue.object(type($0)) })),
    ])
  }
}
