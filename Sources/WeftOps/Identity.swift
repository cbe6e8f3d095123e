// Ops that pass values on: identities, gradient stops, and nodes that only order others.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

enum IdentityRows {
  private static func identityRow(
    _ name: String, _ attributes: String = "T: type", traits: OpTraits = [.view],
    gradient: GradientRule = .rule { g in [g.gradients[0]] }, summary: String
  ) -> OpDef {
    OpDef(
      name, "input: T -> output: T", attributes, summary: summary, traits: traits,
      infer: { ctx in [ctx.shape(0)] },
      value: { ctx in ctx.smallValue() },
      handles: { ctx in [ctx.handle(0)] },
      gradient: gradient, lowering: .kernel { _ in .alias() })
  }

  static let identity = identityRow("Identity", summary: "Its input.")
  static let refIdentity = OpDef(
    "RefIdentity", "input: Ref(T) -> output: Ref(T)", "T: type",
    summary: "The reference it is given.", traits: [.view],
    infer: { ctx in [ctx.shape(0)] },
    handles: { ctx in [ctx.handle(0)] },
    gradient: .rule { g in [g.gradients[0]] }, lowering: .kernel { _ in .alias() })
  static let snapshot = identityRow("Snapshot", summary: "Its input.")
  static let deepCopy = identityRow("DeepCopy", traits: [.view, .stateful], summary: "Its input.")
  static let guaranteeConst = identityRow(
    "GuaranteeConst", gradient: .none("TensorFlow gives it none"),
    summary: "Its input, promised never to change.")
  static let stopGradient = identityRow(
    "StopGradient", gradient: .zero, summary: "Its input; no gradient flows through it.")
  static let preventGradient = identityRow(
    "PreventGradient", "T: type; message: string = ''",
    gradient: .none("PreventGradient forbids a gradient here"),
    summary: "Its input; asking for a gradient through it is an error.")

  static let identityN = OpDef(
    "IdentityN", "input: T -> output: T", "T: list(type) >= 1",
    summary: "Its inputs, all available at once.",
    infer: { ctx in ctx.inputs.map(\.shape) },
    value: { ctx in ctx.smallValue() },
    handles: { ctx in ctx.inputs.indices.map { ctx.handle($0) } },
    gradient: .rule { g in g.gradients },
    lowering: .kernel { ctx in
      let bytes = ctx.inputs.indices.map { ctx.count($0) * ctx.dtype($0).byteSize }
      let plain = ctx.inputs.map { $0.dtype.isPlain }
      if ctx.inputs.count == 1 { return ctx.pass() }
      return Kernel("copyAll", inPlace: ctx.inputs.indices.map { plain[$0] ? [$0] : [] }) { call in
        for index in bytes.indices {
          if plain[index] {
            call.rawOutput(index).copyMemory(
              from: call.rawInput(index), byteCount: bytes[index])
          } else if let value = call.objectInput(index) {
            call.setObject(value, output: index)
          }
        }
      }
    })

  static let noOp = OpDef(
    "NoOp", " -> ", summary: "Nothing; it stands for the nodes that it waits for.",
    traits: [.stateful], infer: { _ in [] }, gradient: .zero, lowering: .kernel { _ in .nothing })

  static let controlTrigger = OpDef(
    "ControlTrigger", " -> ", summary: "Nothing; it runs even when what it waits for is dead.",
    traits: [.stateful], infer: { _ in [] }, gradient: .zero, lowering: .kernel { _ in .nothing })

  static let all = [
    identity, refIdentity, snapshot, deepCopy, guaranteeConst, stopGradient, preventGradient,
    identityN, noOp, controlTrigger,
  ]
}

/// Returns `x` under another name (TensorFlow's Identity). Gradient: dy.
public func identity(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(IdentityRows.identity.name, name: name, inputs: [x], file: file, line: line)
}

/// Returns `x`; no gradient flows through it (TensorFlow's StopGradient).
public func stopGradient(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output {
  try x.graph.output(
    IdentityRows.stopGradient.name, name: name, inputs: [x], file: file, line: line)
}

/// Returns `x`; asking for a gradient through it is an error (TensorFlow's PreventGradient).
public func preventGradient(
  _ x: Output, message: String = "", name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  try x.graph.output(
    IdentityRows.preventGradient.name, name: name, inputs: [x],
    attrs: ["message": .string(message)], file: file, line: line)
}

/// Returns all of `xs`, each available only when all are (TensorFlow's IdentityN).
public func identities(
  _ xs: [Output], name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> [Output] {
  guard let graph = xs.first?.graph else { return [] }
  let node = try graph.add(
    IdentityRows.identityN.name, name: name, inputs: xs, file: file, line: line)
  return graph.outputs(of: node)
}

/// A node that does nothing but wait for `controls` (TensorFlow's NoOp).
@discardableResult
public func noOp(
  _ graph: Graph, controls: [Node] = [], name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Node {
  try graph.add(
    IdentityRows.noOp.name, name: name, controls: controls.map(\.id), file: file, line: line)
}

/// One node to run in place of all `nodes` (TensorFlow's `group`).
@discardableResult
public func group(
  _ graph: Graph, _ nodes: [Node], name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Node {
  try noOp(graph, controls: nodes, name: name ?? "group_deps", file: file, line: line)
}

extension Graph {
  /// All outputs of `node`.
  func outputs(of node: Node) -> [Output] {
    node.outputs.indices.map { Output(graph: self, edge: Edge(node: node.id, port: $0)) }
  }
}
