// Functions of a graph's library: what calls, branches and loops run.

public import OrderedCollections
public import WeftTensors

/// One input or output of a function.
public struct FunctionArgument: Sendable, Hashable {
  /// Its name.
  public var name: String
  /// Its element type; `invalid` where an attribute of the function decides it.
  public var dtype: DType
  /// The type attribute that decides the element type, or empty.
  public var typeAttr: String
  /// Whether it stands for several tensors, which is not supported.
  public var isList: Bool

  /// An argument.
  public init(_ name: String, _ dtype: DType, typeAttr: String = "", isList: Bool = false) {
    self.name = name
    self.dtype = dtype
    self.typeAttr = typeAttr
    self.isList = isList
  }
}

/// A function of the library: TensorFlow's `FunctionDef`.
///
/// Inputs of its nodes are written as functions write them: a parameter by its name, another node's
/// result as `node:output:index`.
public struct GraphFunction: Sendable {
  /// Its name in the library.
  public var name: String
  /// The parameters.
  public var inputs: [FunctionArgument]
  /// The results.
  public var outputs: [FunctionArgument]
  /// Which tensor each result is, in the order of `outputs`.
  public var results: [String]
  /// The nodes that run with every call, whether a result needs them or not.
  public var controls: [String]
  /// The nodes.
  public var nodes: [NodeSpec]
  /// Whether a call has effects.
  public var isStateful: Bool
  /// Attributes of the function.
  public var attrs: [String: AttrValue]
  /// Where it stands in its file.
  public var path: String
  /// Whether the file's own library holds it, so that writing it again is not needed.
  public var isCarried: Bool

  /// A function.
  public init(
    name: String, inputs: [FunctionArgument], outputs: [FunctionArgument], results: [String],
    controls: [String] = [], nodes: [NodeSpec], isStateful: Bool = false,
    attrs: [String: AttrValue] = [:], path: String = "", isCarried: Bool = false
  ) {
    self.name = name
    self.inputs = inputs
    self.outputs = outputs
    self.results = results
    self.controls = controls
    self.nodes = nodes
    self.isStateful = isStateful
    self.attrs = attrs
    self.path = path
    self.isCarried = isCarried
  }
}

/// A function's nodes as a graph of their own.
public struct FunctionBody {
  /// The nodes; parameters are placeholders.
  public let graph: Graph
  /// The placeholder of each parameter.
  public let parameters: [Edge]
  /// Which tensor each result is.
  public let results: [Edge]
  /// Nodes that run with every call.
  public let controls: [Int]

  /// A body with the given parameters and results.
  public init(graph: Graph, parameters: [Edge], results: [Edge], controls: [Int]) {
    self.graph = graph
    self.parameters = parameters
    self.results = results
    self.controls = controls
  }
}

extension GraphSnapshot {
  /// Names of the functions that nodes call, directly or through others.
  package var usedFunctions: Set<String> {
    var found = Set<String>()
    var pending: [String] = []
    func note(_ op: String, _ attrs: [String: AttrValue]) {
      for name in called(op, attrs) where found.insert(name).inserted { pending.append(name) }
    }
    for node in nodes { note(node.op, node.attrs) }
    while let name = pending.popLast() {
      for node in functions[name]?.nodes ?? [] { note(node.op, node.attrs) }
    }
    return found
  }

  // Names of the functions that a node of these attributes calls itself, each as often as it does.
  private func called(_ op: String, _ attrs: [String: AttrValue]) -> [String] {
    var names = functions[op] == nil ? [] : [op]
    func note(_ value: AttrValue) {
      switch value {
      case .function(let ref): names += called(ref.name, ref.attrs)
      case .list(let items): items.forEach { note($0) }
      default: break
      }
    }
    for value in attrs.values { note(value) }
    return names
  }

  /// Functions may call each other this deep, and loops nest.
  package static var nestingLimit: Int { 64 }

  /// Checks that `name`, called by `callers` from the outside in, is none of them and not too deep.
  /// - Throws: InvalidArgument when it is.
  package static func checkCall(_ name: String, by callers: [String]) throws(WeftError) {
    if let first = callers.firstIndex(of: name) {
      let cycle = callers[first...] + [name]
      throw WeftError(
        .invalidArgument, "function '\(name)' calls itself: \(cycle.joined(separator: " -> "))")
    }
    guard callers.count < nestingLimit else {
      throw WeftError(
        .invalidArgument, "functions call each other more than \(nestingLimit) deep")
    }
  }

  /// Checks that no function that a node calls, directly or through others, calls itself.
  /// - Throws: InvalidArgument when one does, or when calls go too deep.
  package func checkCalls(_ node: Node) throws {
    var done = Set<String>()
    func visit(_ names: [String], _ callers: [String]) throws {
      for name in Set(names).sorted() where !done.contains(name) {
        try GraphSnapshot.checkCall(name, by: callers)
        let inner = functions[name]?.nodes.flatMap { called($0.op, $0.attrs) } ?? []
        try visit(inner, callers + [name])
        done.insert(name)
      }
    }
    try visit(called(node.op, node.attrs), [])
  }

  /// Whether the functions that a node calls, directly or through others, would do and give the
  /// same a second time.
  package func isRepeatable(_ node: Node) -> Bool {
    var part = self
    part.nodes = [node]
    for name in part.usedFunctions {
      for inner in functions[name]?.nodes ?? [] {
        guard let traits = registry[inner.op]?.traits else { continue }
        if !traits.isDisjoint(with: [.random, .writesVariable]) { return false }
      }
    }
    return true
  }

  /// The function that `ref` names.
  /// - Throws: NotFound when the library has none.
  public func function(_ ref: FunctionRef) throws(WeftError) -> GraphFunction {
    guard let found = functions[ref.name] else {
      throw WeftError(.notFound, "the library has no function '\(ref.name)'")
    }
    return found
  }

  /// The nodes of the function that `ref` names, for arguments of these types.
  public func body(of ref: FunctionRef, inputs types: [TensorType]) throws -> FunctionBody {
    let function = try self.function(ref)
    do {
      return try instantiate(function, ref, types)
    } catch let error as WeftError {
      throw error.adding("function", function.name)
    }
  }

  private func instantiate(
    _ function: GraphFunction, _ ref: FunctionRef, _ types: [TensorType]
  ) throws -> FunctionBody {
    guard types.count == function.inputs.count else {
      throw WeftError(
        .invalidArgument,
        "function '\(function.name)' takes \(function.inputs.count) arguments, got \(types.count)")
    }
    guard
      let parameterOp = registry.all.first(where: {
        if case .placeholder = $0.lowering { true } else { false }
      })
    else { throw WeftError(.internal, "the registry has no placeholder op") }
    let bindings = function.attrs.merging(ref.attrs) { _, given in given }
    var specs: [NodeSpec] = []
    for (argument, type) in zip(function.inputs, types) {
      guard !argument.isList else {
        throw WeftError(
          .unimplemented, "parameter '\(argument.name)' stands for several tensors")
      }
      let dtype = try argument.resolved(bindings)
      guard dtype == type.dtype || type.dtype == .invalid || dtype == .invalid else {
        throw WeftError(
          .invalidArgument,
          "parameter '\(argument.name)' is \(dtype.name), the argument is \(type.dtype.name)")
      }
      specs.append(
        NodeSpec(
          name: argument.name, op: parameterOp.name, inputs: [],
          attrs: ["dtype": .type(type.dtype), "shape": .shape(type.shape)], path: function.path))
    }
    var translator = BodyNames(
      parameters: Set(function.inputs.map(\.name)), registry: registry, functions: functions)
    for spec in function.nodes {
      var copy = spec
      copy.attrs = spec.attrs.mapValues { $0.substituting(bindings) }
      // Shapes that the file states are those of the general case; they are inferred anew.
      copy.attrs["_output_shapes"] = nil
      translator.note(copy)
      specs.append(copy)
    }
    for index in specs.indices {
      specs[index].inputs = try specs[index].inputs.map { try translator.plain($0) }
    }
    let graph = try Graph(loading: specs, registry: registry, functions: functions)
    let results = try function.results.map { try graph.snapshot.edge(translator.plain($0)) }
    let controls = try function.controls.map { name throws(WeftError) in
      guard let id = graph.snapshot.nodeID(name) else {
        throw WeftError(.invalidArgument, "control output '\(name)' is no node of the function")
      }
      return id
    }
    for (output, edge) in zip(function.outputs, results) {
      let wanted = try output.resolved(bindings)
      let got = graph.snapshot.type(edge).dtype
      guard wanted == got || wanted == .invalid || got == .invalid else {
        throw WeftError(
          .invalidArgument, "result '\(output.name)' is \(got.name), declared \(wanted.name)")
      }
    }
    return FunctionBody(
      graph: graph, parameters: function.inputs.indices.map { Edge(node: $0, port: 0) },
      results: results, controls: controls)
  }
}

extension FunctionArgument {
  /// The element type under these attributes.
  func resolved(_ bindings: [String: AttrValue]) throws(WeftError) -> DType {
    if typeAttr.isEmpty { return dtype }
    guard case .type(let bound)? = bindings[typeAttr] else {
      throw WeftError(.invalidArgument, "attr '\(typeAttr)' of the function has no value")
    }
    return bound
  }
}

extension AttrValue {
  /// The value with names of the enclosing function's attributes replaced.
  func substituting(_ bindings: [String: AttrValue]) -> AttrValue {
    switch self {
    case .placeholder(let name): return bindings[name] ?? self
    case .function(let ref):
      return .function(
        FunctionRef(ref.name, attrs: ref.attrs.mapValues { $0.substituting(bindings) }))
    case .list(let items): return .list(items.map { $0.substituting(bindings) })
    default: return self
    }
  }
}

/// From the names of function bodies, `node:output:index`, to those of graphs, `node:port`.
private struct BodyNames {
  let parameters: Set<String>
  let registry: OpRegistry
  let functions: OrderedDictionary<String, GraphFunction>
  private var specs: [String: NodeSpec] = [:]

  init(
    parameters: Set<String>, registry: OpRegistry,
    functions: OrderedDictionary<String, GraphFunction>
  ) {
    self.parameters = parameters
    self.registry = registry
    self.functions = functions
  }

  mutating func note(_ spec: NodeSpec) { specs[spec.name] = spec }

  func plain(_ text: String) throws(WeftError) -> String {
    if text.hasPrefix("^") || parameters.contains(text) { return text }
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count > 1 else { return text }
    let name = String(parts[0])
    if parts.count == 2, let port = Int(parts[1]) { return "\(name):\(port)" }
    let output = String(parts[1])
    let index = parts.count > 2 ? Int(parts[2]) : 0
    guard let spec = specs[name], let index, index >= 0, parts.count <= 3 else {
      throw WeftError(.invalidArgument, "'\(text)' is no tensor of the function")
    }
    if let function = functions[spec.op], registry[spec.op]?.isCall != false {
      guard let port = function.outputs.firstIndex(where: { $0.name == output }), index == 0 else {
        throw WeftError(.invalidArgument, "'\(text)': \(spec.op) has no output '\(output)'")
      }
      return "\(name):\(port)"
    }
    guard let signature = registry[spec.op]?.signature else { return "\(name):\(index)" }
    let attrs = Attrs(spec.attrs, signature: signature)
    var port = 0
    for argument in signature.outputs {
      let width = try Graph.expand([argument], attrs, op: spec.op).count
      if argument.name == output {
        guard index < width else {
          throw WeftError(
            .invalidArgument, "'\(text)': output '\(output)' of \(spec.op) has \(width) tensors")
        }
        return "\(name):\(port + index)"
      }
      port += width
    }
    throw WeftError(.invalidArgument, "'\(text)': \(spec.op) has no output '\(output)'")
  }
}

extension OpDef {
  /// The row of a node whose op is a function of the library, as older files call them.
  public static func call(of function: GraphFunction) -> OpDef {
    var attrs: [String] = []
    func text(_ arguments: [FunctionArgument], _ prefix: String) -> String {
      arguments.enumerated().map { index, argument in
        if argument.typeAttr.isEmpty { return "\(prefix)\(index): \(argument.dtype.name)" }
        let attr = "type_\(argument.typeAttr)"
        if !attrs.contains(attr) { attrs.append(attr) }
        return "\(prefix)\(index): \(argument.typeAttr)"
      }.joined(separator: ", ")
    }
    let arguments = "\(text(function.inputs, "x")) -> \(text(function.outputs, "y"))"
    let count = function.outputs.count
    return OpDef(
      function.name, arguments,
      attrs.map { "\($0.dropFirst(5)): type" }.joined(separator: "; "),
      summary: "A call of the library's function.",
      traits: function.isStateful ? [.stateful, .call] : [.call],
      infer: { _ in Array(repeating: .unknown, count: count) },
      gradient: .none("its function is not known"),
      lowering: .kernel { ctx in
        throw WeftError(.internal, "call of '\(ctx.op.name)' was not expanded")
      })
  }

  /// Whether it is the row of a library function.
  public var isCall: Bool { traits.contains(.call) }
}

extension OpRegistry {
  /// The registry with a row for each function of a library that no op has the name of.
  public func calling(_ functions: OrderedDictionary<String, GraphFunction>) -> OpRegistry {
    let fresh = functions.values.filter { function in
      self[function.name] == nil && !(function.inputs + function.outputs).contains { $0.isList }
    }
    return fresh.isEmpty ? self : OpRegistry(all + fresh.map { OpDef.call(of: $0) })
  }
}
