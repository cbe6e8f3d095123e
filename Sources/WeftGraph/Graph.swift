// The graph builder: nodes are added one by one, each checked when it is made.

public import OrderedCollections
public import WeftTensors

/// A variable that a graph defines: what TensorFlow's `VariableDef` records.
public struct VariableRecord: Sendable, Hashable {
  /// The variable's name, without `:0`.
  public var name: String
  /// The node that makes the handle or reference.
  public var handle: String
  /// The operation that initializes it.
  public var initializer: String
  /// The tensor name of its initial value.
  public var initialValue: String
  /// The tensor name through which it is read.
  public var snapshot: String
  /// Whether it is a resource variable.
  public var isResource: Bool
  /// Whether optimizers update it.
  public var isTrainable: Bool
  /// A variable record.
  public init(
    name: String, handle: String, initializer: String, initialValue: String, snapshot: String,
    isResource: Bool = true, isTrainable: Bool = true
  ) {
    self.name = name
    self.handle = handle
    self.initializer = initializer
    self.initialValue = initialValue
    self.snapshot = snapshot
    self.isResource = isResource
    self.isTrainable = isTrainable
  }
}

/// A named way to run a graph: TensorFlow's `SignatureDef`.
public struct Signature: Sendable {
  /// Key to tensor name, `scope/op:0`.
  public var inputs: OrderedDictionary<String, String>
  /// Key to tensor name; a name without `:` is an operation to run.
  public var outputs: OrderedDictionary<String, String>
  /// TensorFlow's `method_name`.
  public var method: String
  /// The file's own `SignatureDef` bytes, when it came from a file and is unchanged.
  public var passthrough: [UInt8]
  /// A signature.
  public init(
    inputs: OrderedDictionary<String, String> = [:],
    outputs: OrderedDictionary<String, String> = [:], method: String = "", passthrough: [UInt8] = []
  ) {
    self.inputs = inputs
    self.outputs = outputs
    self.method = method
    self.passthrough = passthrough
  }
}

/// One collection of a MetaGraphDef.
public enum Collection: Sendable, Hashable {
  /// Names of nodes or tensors.
  case nodes([String])
  /// Byte strings: serialized messages or texts.
  case bytes([[UInt8]])
  case ints([Int64])
  case floats([Float])
  /// A kind Weft does not interpret, as serialized `CollectionDef` bytes.
  case opaque([UInt8])
}

/// Everything a graph holds, as an immutable value that threads may share.
public struct GraphSnapshot: Sendable {
  /// All nodes; a node's id is its place here. Ids follow creation (or file) order.
  public internal(set) var nodes: [Node] = []
  /// Ops that nodes may use.
  public let registry: OpRegistry
  /// Named ways to run it.
  public var signatures: OrderedDictionary<String, Signature> = [:]
  /// Collections other than those made of `variables`.
  public var collections: OrderedDictionary<String, Collection> = [:]
  /// Variables, in creation order.
  public var variables: [VariableRecord] = []
  /// Parts of the file that Weft carries but does not interpret: field name to serialized bytes
  /// (`versions`, `library`, `metaInfoDef`, `saverDef`, `assetFileDef`, `objectGraphDef`, ...).
  public var passthrough: OrderedDictionary<String, [UInt8]> = [:]
  /// Functions that nodes call, by name.
  public var functions: OrderedDictionary<String, GraphFunction> = [:]

  var index: [String: Int] = [:]

  /// The id of the node called `name`.
  public func nodeID(_ name: String) -> Int? { index[name] }

  /// The node called `name`.
  public func node(_ name: String) -> Node? { index[name].map { nodes[$0] } }

  /// The edge of the tensor name `name` or `name:port`.
  /// - Throws: NotFound (usage) when there is no such node or output.
  public func edge(_ tensorName: String) throws(WeftError) -> Edge {
    let (name, port) = GraphSnapshot.splitTensorName(tensorName)
    guard let id = index[name] else {
      throw WeftError(
        .notFound, "there is no tensor '\(tensorName)': no node is called '\(name)'",
        category: .usage, hint: nearestName(to: name).map { "did you mean '\($0)'?" })
    }
    guard port < nodes[id].outputs.count else {
      throw WeftError(
        .notFound,
        "there is no tensor '\(tensorName)': \(nodes[id].op) '\(name)' has "
          + "\(nodes[id].outputs.count) outputs", category: .usage)
    }
    return Edge(node: id, port: port)
  }

  /// `a/b:1` as name and port; port 0 when none is given.
  public static func splitTensorName(_ text: String) -> (name: String, port: Int) {
    if let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
      port >= 0
    {
      return (String(text[..<colon]), port)
    }
    return (text, 0)
  }

  /// The type of the output at `edge`.
  public func type(_ edge: Edge) -> TensorType { nodes[edge.node].outputs[edge.port] }

  // A node name that shares the last part, or differs in a character or two.
  private func nearestName(to name: String) -> String? {
    let last = name.split(separator: "/").last.map(String.init) ?? name
    return nodes.first { $0.name.lowercased() == name.lowercased() }?.name
      ?? nodes.first { $0.name.hasSuffix("/" + last) }?.name
      ?? nodes.first { !last.isEmpty && $0.name.hasPrefix(name) }?.name
  }
}

/// A graph under construction.
///
/// Builders add nodes; each node's shapes and types are inferred at once, so a mistake is reported
/// where it is made. Not `Sendable`: threads share `snapshot`.
public final class Graph {
  /// Everything in it, as a value.
  public private(set) var snapshot: GraphSnapshot
  /// The file version nodes were made for; TensorFlow's `GraphDef.versions.producer`.
  public static let producer: Int32 = 2000

  /// The graph that this one becomes a function of, while it is made.
  package var parent: Graph?
  /// Makes a parameter for a value of an enclosing graph.
  package var capture: ((Output) throws -> Output)?

  /// The graph that all of `values` can be used in: that of the innermost function among theirs.
  package static func innermost(_ values: [Output]) -> Graph? {
    values.map(\.graph).reduce(nil as Graph?) { inner, graph in
      inner.map { $0.encloses(graph) ? graph : $0 } ?? graph
    }
  }

  // Whether `other` is made as a function of this graph, or of one of its functions.
  private func encloses(_ other: Graph) -> Bool {
    var at = other.parent
    while let graph = at {
      if graph === self { return true }
      at = graph.parent
    }
    return false
  }

  private var nameCounts: [String: Int] = [:]
  private var scopes: [String] = []
  private var controls: [[Int]] = []
  // Values of small integer tensors, memoised by node id; see `value(of:)`.
  private var valueCache: [Int: [Dim]?] = [:]

  /// An empty graph whose nodes use the ops of `registry`.
  public init(registry: OpRegistry) { snapshot = GraphSnapshot(registry: registry) }

  init(snapshot: GraphSnapshot) {
    self.snapshot = snapshot
    for node in snapshot.nodes { reserve(node.name) }
  }

  /// All nodes.
  public var nodes: [Node] { snapshot.nodes }
  /// Ops that nodes may use.
  public var registry: OpRegistry { snapshot.registry }
  /// Named ways to run it.
  public var signatures: OrderedDictionary<String, Signature> {
    get { snapshot.signatures }
    set { snapshot.signatures = newValue }
  }
  /// Collections other than those made of `variables`.
  public var collections: OrderedDictionary<String, Collection> {
    get { snapshot.collections }
    set { snapshot.collections = newValue }
  }
  /// Variables, in creation order.
  public var variables: [VariableRecord] {
    get { snapshot.variables }
    set { snapshot.variables = newValue }
  }
  /// Parts of the file that Weft carries but does not interpret.
  public var passthrough: OrderedDictionary<String, [UInt8]> {
    get { snapshot.passthrough }
    set { snapshot.passthrough = newValue }
  }
  /// Functions that nodes call, by name.
  public var functions: OrderedDictionary<String, GraphFunction> {
    get { snapshot.functions }
    set { snapshot.functions = newValue }
  }

  /// The tensor called `name` or `name:port`.
  public func output(_ tensorName: String) throws(WeftError) -> Output {
    Output(graph: self, edge: try snapshot.edge(tensorName))
  }

  // MARK: - Names

  /// The scope that new names are put under, ending in `/`, or empty.
  public var currentScope: String { scopes.last ?? "" }

  /// Runs `body` with new names under `name/` (made unique, as TensorFlow's `name_scope`).
  public func withScope<Result>(_ name: String, _ body: () throws -> Result) rethrows -> Result {
    scopes.append(uniqueName(currentScope + name) + "/")
    defer { scopes.removeLast() }
    return try body()
  }

  /// Runs `body` with new names under exactly `scope`, entered again if it exists; "" is the root.
  public func withAbsoluteScope<Result>(
    _ scope: String, _ body: () throws -> Result
  ) rethrows -> Result {
    scopes.append(scope.isEmpty || scope.hasSuffix("/") ? scope : scope + "/")
    defer { scopes.removeLast() }
    return try body()
  }

  /// Runs `body`; every node made in it runs after `nodes`.
  public func withControlDependencies<Result>(
    _ nodes: [Int], _ body: () throws -> Result
  ) rethrows -> Result {
    controls.append(nodes)
    defer { controls.removeLast() }
    return try body()
  }

  /// Makes nodes that wait for nothing but what they name: for nodes made before them to use.
  package func withoutControlDependencies<Result>(_ body: () throws -> Result) rethrows -> Result {
    let kept = controls
    controls = []
    defer { controls = kept }
    return try body()
  }

  // The first of name, name_1, name_2, ... that is free; names differ in more than case, because
  // TensorFlow compares them so. Amortized O(1).
  private func uniqueName(_ wanted: String) -> String {
    let key = wanted.lowercased()
    guard var count = nameCounts[key] else {
      reserve(wanted)
      return wanted
    }
    while true {
      let candidate = "\(wanted)_\(count)"
      count += 1
      if nameCounts[candidate.lowercased()] == nil {
        nameCounts[key] = count
        reserve(candidate)
        return candidate
      }
    }
  }

  // A used name also uses up its scopes, as TensorFlow's names do.
  private func reserve(_ name: String) {
    let key = name.lowercased()
    if nameCounts[key] == nil { nameCounts[key] = 1 }
    var scope = key[...]
    while let slash = scope.lastIndex(of: "/") {
      scope = scope[..<slash]
      let scopeKey = String(scope)
      if nameCounts[scopeKey] != nil { break }
      nameCounts[scopeKey] = 1
    }
  }

  // MARK: - Adding nodes

  /// Adds a node: infers type attributes, checks attributes and inputs, infers shapes.
  /// - Parameters:
  ///   - op: TensorFlow's op name.
  ///   - name: the wanted name within the current scope; the op's name if nil.
  ///   - inputs: data inputs.
  ///   - attrs: attributes; those that follow from the inputs may be left out.
  ///   - controls: ids of nodes that must run before.
  /// - Throws: InvalidArgument that names op, operands, shapes and the caller's file and line.
  @discardableResult
  public func add(
    _ op: String, name: String? = nil, inputs: [Output] = [], attrs: [String: AttrValue] = [:],
    controls extra: [Int] = [], file: StaticString = #fileID, line: UInt = #line
  ) throws -> Node {
    let origin = Origin.site(file: "\(file)", line: line)
    guard let def = registry[op] else {
      throw WeftError(.unimplemented, "there is no op '\(op)'")
    }
    let inputs = try inputs.map { input in
      if input.graph === self { return input }
      guard let capture, input.graph.encloses(self) else {
        throw WeftError(
          .invalidArgument, "\(op) mixes two graphs: '\(input.name)' belongs to another graph")
      }
      return try capture(input)
    }
    if let name, !Graph.isValidName(name) {
      throw WeftError(.invalidArgument, "'\(name)' is not a valid node name")
    }
    let edges = inputs.map(\.edge)
    let wanted = currentScope + (name ?? op)
    do {
      let stored = try inferAttrs(def, inputs: inputs.map(\.type), given: attrs)
      let types = edges.map { snapshot.type($0) }
      try checkAttrs(def, stored)
      let (outputs, handles) = try inferTypes(def, stored, edges, types)
      var controlIDs: [Int] = []
      var seen = Set<Int>()
      for id in controls.joined() where seen.insert(id).inserted { controlIDs.append(id) }
      for id in extra where seen.insert(id).inserted { controlIDs.append(id) }
      let node = Node(
        id: snapshot.nodes.count, name: uniqueName(wanted), op: op, def: def, inputs: edges,
        controlInputs: controlIDs, attrs: stored, device: "", outputs: outputs, handles: handles,
        origin: origin, passthrough: [])
      append(node)
      return node
    } catch let error as WeftError {
      throw describe(error, op: op, name: wanted, def: def, inputs: edges, origin: origin)
    }
  }

  /// Adds a node and returns output 0.
  public func output(
    _ op: String, name: String? = nil, inputs: [Output] = [], attrs: [String: AttrValue] = [:],
    controls: [Int] = [], file: StaticString = #fileID, line: UInt = #line
  ) throws -> Output {
    // An operand from a function that is being made here puts the node there.
    if let inner = inputs.first(where: { $0.graph !== self && encloses($0.graph) })?.graph {
      return try inner.output(
        op, name: name, inputs: inputs, attrs: attrs, controls: controls, file: file, line: line)
    }
    let node = try add(
      op, name: name, inputs: inputs, attrs: attrs, controls: controls, file: file, line: line)
    return Output(graph: self, edge: Edge(node: node.id, port: 0))
  }

  func append(_ node: Node) {
    snapshot.index[node.name] = node.id
    snapshot.nodes.append(node)
  }

  func setTypes(_ id: Int, _ outputs: [TensorType], _ handles: [HandleType?]) {
    snapshot.nodes[id].outputs = outputs
    snapshot.nodes[id].handles = handles
  }

  /// Gives a node other inputs, attributes and output types: how a loop gets more variables.
  package func rewrite(
    _ id: Int, inputs: [Edge], attrs: [String: AttrValue], outputs: [TensorType],
    handles: [HandleType?]
  ) {
    snapshot.nodes[id].inputs = inputs
    snapshot.nodes[id].attrs = attrs
    setTypes(id, outputs, handles)
  }

  func setInputs(_ id: Int, _ inputs: [Edge], _ controls: [Int]) {
    snapshot.nodes[id].inputs = inputs
    snapshot.nodes[id].controlInputs = controls
  }

  /// Letters, digits and `_.\->/`, starting as TensorFlow requires.
  public static func isValidName(_ name: String) -> Bool {
    guard let first = name.utf8.first else { return false }
    func isWord(_ c: UInt8) -> Bool {
      (c >= 48 && c <= 57) || (c >= 65 && c <= 90) || (c >= 97 && c <= 122) || c == 46
    }
    return (isWord(first) || first == 95)
      && name.utf8.allSatisfy {
        isWord($0) || $0 == 95 || $0 == 45 || $0 == 47 || $0 == 62 || $0 == 92
      }
  }

  // MARK: - Known values

  /// The integers that a scalar or vector output holds, as far as they are known without running.
  public func value(of edge: Edge) -> [Dim]? {
    guard edge.port == 0 else { return nil }
    if let cached = valueCache[edge.node] { return cached }
    let node = snapshot.nodes[edge.node]
    guard let def = node.def, let rule = def.value else {
      return nil
    }
    // Guard against cycles while this node is computed.
    valueCache[edge.node] = .some(nil)
    let result = rule(context(def, node.attrs, node.inputs, node.inputs.map { snapshot.type($0) }))
    valueCache[edge.node] = .some(result)
    return result
  }

  /// The value of a constant.
  public func constant(of edge: Edge) -> Tensor? {
    let node = snapshot.nodes[edge.node]
    guard case .constant? = node.def?.lowering, case .tensor(let value)? = node.attrs["value"]
    else { return nil }
    return value
  }

  func context(
    _ def: OpDef, _ stored: [String: AttrValue], _ edges: [Edge], _ types: [TensorType]
  ) -> InferContext {
    // The closures run only inside the call to infer, on this thread.
    nonisolated(unsafe) let graph = self
    return InferContext(
      op: def, attrs: Attrs(stored, signature: def.signature), inputs: types,
      values: { index in
        edges.indices.contains(index) ? graph.value(of: edges[index]) : nil
      },
      tensors: { index in
        edges.indices.contains(index) ? graph.constant(of: edges[index]) : nil
      },
      handleTypes: { index in
        guard edges.indices.contains(index) else { return nil }
        let handles = graph.snapshot.nodes[edges[index].node].handles
        return handles.indices.contains(edges[index].port) ? handles[edges[index].port] : nil
      })
  }
}
