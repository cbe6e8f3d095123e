// Cutting a part out of the working graph: its nodes, with feeds for what it takes from outside.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

/// What parts of a graph take from outside, each edge once and in the order first met.
final class Captures {
  /// Plain values and objects: the feeds behind those that are bound.
  private(set) var edges: [Edge] = []
  /// Handles and references of variables, which the parts hold themselves.
  private(set) var handles: [Edge] = []
  /// Values of another part that this one takes.
  private(set) var extras: [Edge] = []
  /// Nodes outside that must have run before.
  private(set) var controls: [Int] = []
  private var number: [Edge: Int] = [:]
  private var extraNumber: [Edge: Int] = [:]

  /// Captured feeds have numbers from here until `IR.renumberFeeds`.
  static let base = 1 << 30
  /// Feeds taken from another part have numbers from here.
  static let extraBase = 1 << 40

  func feed(_ edge: Edge) -> Int {
    if let known = number[edge] { return known }
    let fresh = Self.base + edges.count
    edges.append(edge)
    number[edge] = fresh
    return fresh
  }

  func extra(_ edge: Edge) -> Int {
    if let known = extraNumber[edge] { return known }
    let fresh = Self.extraBase + extras.count
    extras.append(edge)
    extraNumber[edge] = fresh
    return fresh
  }

  func handle(_ edge: Edge) { if !handles.contains(edge) { handles.append(edge) } }
  func wait(for id: Int) { if !controls.contains(id) { controls.append(id) } }
}

/// A part that was cut out.
struct Part {
  var ir: IR
  /// Where each of the graph's nodes is in the part.
  var place: [Int: Int]
  /// The feed that stands for each edge from outside.
  fileprivate(set) var feeds: [Edge: Int] = [:]
}

extension IR {
  /// Cuts out `members`.
  /// - Parameters:
  ///   - bound: edges that are feeds of these numbers.
  ///   - extras: nodes whose outputs come from another part.
  ///   - ignored: nodes that nobody in the part needs to wait for.
  func cut(
    _ members: [Int], bound: [Edge: Int], extras: Set<Int> = [], ignored: Set<Int> = [],
    fetches: [Edge], targets: [Int], _ captures: Captures
  ) throws -> Part {
    guard let feedDef = IR.feedDef(.standard) else {
      throw WeftError(.internal, "the registry has no placeholder op")
    }
    var part = Part(ir: IR(), place: [:])
    part.ir.memoryLimit = memoryLimit
    let inside = Set(members)
    for (position, id) in members.enumerated() { part.place[id] = position }
    part.ir.nodes = members.map { nodes[$0] }
    var made: [Edge: Int] = [:]

    func add(_ node: IRNode) -> Int {
      part.ir.nodes.append(node)
      return part.ir.nodes.count - 1
    }
    func feed(_ index: Int, _ edge: Edge) -> Int {
      let source = nodes[edge.node]
      return add(
        IRNode(
          name: edge.port == 0 ? source.name : "\(source.name):\(edge.port)", def: feedDef,
          attrs: [:], inputs: [], controls: [], outputs: [type(edge).value],
          handles: [handle(edge)], origin: source.origin, kind: .feed(index: index),
          rank: 0))
    }
    func inner(_ edge: Edge) throws -> Edge {
      if let index = bound[edge] {
        if let known = made[edge] { return Edge(node: known, port: 0) }
        let id = feed(index, edge)
        made[edge] = id
        return Edge(node: id, port: 0)
      }
      if inside.contains(edge.node), let place = part.place[edge.node] {
        return Edge(node: place, port: edge.port)
      }
      if let known = made[edge] { return Edge(node: known, port: 0) }
      let source = nodes[edge.node]
      let fresh: Int
      if extras.contains(edge.node) {
        fresh = feed(captures.extra(edge), edge)
      } else if case .constant = source.kind, source.controls.isEmpty {
        fresh = add(source)
        part.ir.known[Edge(node: fresh, port: 0)] = known[edge]
      } else if type(edge).dtype == .resource || type(edge).isReference,
        let cell = try? cell(of: edge)
      {
        var variable = source
        variable.kind = .variable(cell)
        variable.inputs = []
        variable.controls = []
        variable.outputs = [type(edge)]
        variable.handles = [handle(edge)]
        fresh = add(variable)
        captures.handle(edge)
        if case .op = source.kind { captures.wait(for: edge.node) }
      } else {
        fresh = feed(captures.feed(edge), edge)
      }
      made[edge] = fresh
      return Edge(node: fresh, port: 0)
    }
    for (position, id) in members.enumerated() {
      part.ir.nodes[position].inputs = try nodes[id].inputs.map(inner)
      var controls: [Int] = []
      for source in nodes[id].controls {
        if let place = part.place[source], inside.contains(source) {
          controls.append(place)
        } else if !ignored.contains(source), !extras.contains(source) {
          captures.wait(for: source)
        }
      }
      part.ir.nodes[position].controls = controls
      if case .constant(let value) = nodes[id].kind {
        part.ir.known[Edge(node: position, port: 0)] = value
      }
    }
    part.ir.fetches = try fetches.map(inner)
    part.ir.targets = targets.compactMap { part.place[$0] }
    part.ir.live = [Bool](repeating: true, count: part.ir.nodes.count)
    for (edge, id) in made {
      if case .feed(let index) = part.ir.nodes[id].kind { part.feeds[edge] = index }
    }
    return part
  }

  /// Gives the feeds of captured edges and of extras their numbers: `first` on.
  mutating func placeCaptures(first: Int, captured: Int) {
    for id in nodes.indices {
      guard case .feed(let index) = nodes[id].kind else { continue }
      if index >= Captures.extraBase {
        nodes[id].kind = .feed(index: first + captured + index - Captures.extraBase)
      } else if index >= Captures.base {
        nodes[id].kind = .feed(index: first + index - Captures.base)
      }
    }
  }
}
