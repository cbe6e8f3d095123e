// Elementwise nodes of one shape as one kernel.

internal import WeftGraph
internal import WeftKernels
internal import WeftOps
internal import WeftTensors

extension IR {
  /// Elements below which a kernel of its own costs nothing.
  private static let fewestElements = 64

  /// Puts chains and nets of elementwise nodes together: each block of a thousand elements, or each
  /// row, goes through all of them while it is in cache.
  mutating func fuseElementwise() {
    var finder = ElementwiseFinder(self)
    let users = Users(self)
    var table: [Edge: Edge] = [:]
    for group in finder.groups() where group.count > 1 {
      // Groups are disjoint, so the table of users from before the first holds for all.
      guard let fused = ElementwiseGroup(self, group, users) else { continue }
      fused.apply(to: &self, &table)
    }
    replace(table)
    markLive()
  }

  /// What an elementwise node is to a program; nil for others.
  fileprivate func elementwiseKind(_ id: Int) -> ProgramBuilder.Kind? {
    let node = nodes[id]
    guard case .op = node.kind, !node.isStateful, !node.def.traits.contains(.readsVariable),
      node.controls.isEmpty, node.outputs.count == 1, node.outputs[0].dtype.isPlain,
      let shape = node.outputs[0].shape.known, shape.reduce(1, *) >= IR.fewestElements,
      node.inputs.allSatisfy({ edge in
        let type = self.type(edge)
        return type.dtype.isPlain && !type.isReference
          && ElementwiseGroup.extent(type.shape.known, in: shape) != nil
      })
    else { return nil }
    if isOp(id, KnownOp.addN) {
      guard node.inputs.count > 1 else { return nil }
      return ElementwiseLoop.addition(node.outputs[0].dtype).map { .sum($0) }
    }
    if isOp(id, KnownOp.biasAdd) {
      guard shape.count == 2, self.shape(node.inputs[1]) == [shape[1]] else { return nil }
      return ElementwiseLoop.addition(node.outputs[0].dtype).map { .loop($0) }
    }
    guard node.def.traits.contains(.elementwise), case .kernel(let lower) = node.def.lowering,
      let loop = try? lower(
        LowerContext(
          name: node.name, op: node.def, attrs: Attrs(node.attrs, signature: node.def.signature),
          inputs: node.inputs.map { type($0) }, outputs: node.outputs,
          tensors: { [known] index in
            node.inputs.indices.contains(index) ? known[node.inputs[index]] : nil
          },
          variables: { _ in throw WeftError(.internal, "no variable in an elementwise node") })
      ).loop
    else { return nil }
    return .loop(loop)
  }
}

extension ElementwiseLoop {
  /// The loop of an addition, for ops that add without being written as one loop.
  static func addition(_ dtype: DType) -> ElementwiseLoop? {
    guard let add = KnownOp.add.first, case .kernel(let make) = add.lowering else { return nil }
    let type = TensorType(dtype, Shape([1]))
    return try? make(
      LowerContext(
        name: add.name, op: add, attrs: Attrs([:], signature: add.signature), inputs: [type, type],
        outputs: [type], variables: { _ in throw WeftError(.internal, "no variable in a sum") })
    ).loop
  }
}

/// Finds elementwise nodes of one shape that use one another with nothing else in between.
private struct ElementwiseFinder {
  private let ir: IR
  private var parent: [Int]

  init(_ ir: IR) {
    self.ir = ir
    parent = Array(ir.nodes.indices)
  }

  /// Groups of nodes with their kinds, each in an order that it can run in.
  mutating func groups() -> [[(id: Int, kind: ProgramBuilder.Kind)]] {
    var kinds = [ProgramBuilder.Kind?](repeating: nil, count: ir.nodes.count)
    // What others wait for is left alone.
    var awaited = Set(ir.targets)
    for id in ir.nodes.indices where ir.live[id] { awaited.formUnion(ir.nodes[id].controls) }
    // How many steps out of elementwise work of one shape lie before a node: between nodes of equal
    // depth there is nothing but such work, so that they may run as one.
    var depth = [Int](repeating: 0, count: ir.nodes.count)
    let order = ir.order()
    for id in order {
      let kind = awaited.contains(id) ? nil : ir.elementwiseKind(id)
      kinds[id] = kind
      var own = 0
      for edge in ir.nodes[id].inputs {
        let joins =
          kind != nil && kinds[edge.node] != nil
          && ir.type(edge).shape == ir.nodes[id].outputs[0].shape
        own = max(own, depth[edge.node] + (joins ? 0 : 1))
      }
      for source in ir.nodes[id].controls { own = max(own, depth[source] + 1) }
      depth[id] = own
    }
    for id in order where kinds[id] != nil {
      for edge in ir.nodes[id].inputs
      where kinds[edge.node] != nil && depth[edge.node] == depth[id]
        && ir.type(edge).shape == ir.nodes[id].outputs[0].shape
      {
        parent[find(id)] = find(edge.node)
      }
    }
    var groups: [[(id: Int, kind: ProgramBuilder.Kind)]] = []
    var groupOf: [Int: Int] = [:]
    for id in order {
      guard let kind = kinds[id] else { continue }
      let root = find(id)
      if let group = groupOf[root] {
        groups[group].append((id, kind))
      } else {
        groupOf[root] = groups.count
        groups.append([(id, kind)])
      }
    }
    return groups
  }

  private mutating func find(_ id: Int) -> Int {
    var root = id
    while parent[root] != root { root = parent[root] }
    var at = id
    while parent[at] != root { (parent[at], at) = (root, parent[at]) }
    return root
  }
}

/// Nodes that become one kernel.
struct ElementwiseGroup {
  /// How an operand lies in the group's shape.
  enum Extent {
    case full, element, row, column
  }

  private let nodes: [(id: Int, kind: ProgramBuilder.Kind)]
  private let shape: [Int]
  private let inputs: [Edge]
  private let extents: [Extent]
  private let results: [Edge]
  private let isFlat: Bool

  /// Elements of a block when all operands are whole or single elements.
  private static let block = 1_024
  /// Columns beyond which a row does not stay in cache.
  private static let mostColumns = 8_192

  /// How an operand of shape `sizes` is broadcast to `shape`; nil when it is in no simple way.
  static func extent(_ sizes: [Int]?, in shape: [Int]) -> Extent? {
    guard let sizes else { return nil }
    if sizes == shape { return .full }
    if sizes.allSatisfy({ $0 == 1 }) { return sizes.count <= shape.count ? .element : nil }
    guard let last = shape.last, sizes.count <= shape.count else { return nil }
    if sizes.last == last && sizes.dropLast().allSatisfy({ $0 == 1 }) { return .row }
    if sizes.count == shape.count && sizes.last == 1 && sizes.dropLast() == shape.dropLast() {
      return .column
    }
    return nil
  }

  init?(_ ir: IR, _ nodes: [(id: Int, kind: ProgramBuilder.Kind)], _ users: Users) {
    guard let first = nodes.first, let shape = ir.nodes[first.id].outputs[0].shape.known else {
      return nil
    }
    self.nodes = nodes
    self.shape = shape
    let own = Set(nodes.map(\.id))
    var inputs: [Edge] = []
    var results: [Edge] = []
    for (id, _) in nodes {
      for edge in ir.nodes[id].inputs where !own.contains(edge.node) && !inputs.contains(edge) {
        inputs.append(edge)
      }
      let edge = Edge(node: id, port: 0)
      if users.fetched(edge) || users[edge].contains(where: { !own.contains($0.node) }) {
        results.append(edge)
      }
    }
    self.inputs = inputs
    self.results = results
    extents = inputs.map { ElementwiseGroup.extent(ir.shape($0), in: shape) ?? .full }
    isFlat = extents.allSatisfy { extent in
      switch extent {
      case .full, .element: true
      case .row, .column: false
      }
    }
    guard !results.isEmpty, isFlat || (shape.last ?? 1) <= ElementwiseGroup.mostColumns else {
      return nil
    }
  }

  // The program for rows of `columns` elements.
  private func program(_ ir: IR, columns: Int) -> RowProgram {
    typealias Column = ProgramBuilder.Column
    var values: [Int: Column] = [:]
    for (id, _) in nodes {
      values[id] = Column(count: columns, bytes: ir.nodes[id].outputs[0].dtype.byteSize)
    }
    var outer: [(column: Column, stride: Int)] = []
    for (edge, extent) in zip(inputs, extents) {
      let bytes = ir.type(edge).dtype.byteSize
      switch extent {
      case .full: outer.append((Column(count: columns, bytes: bytes), columns * bytes))
      case .row: outer.append((Column(count: columns, bytes: bytes), 0))
      case .column: outer.append((Column(count: 1, bytes: bytes), bytes))
      case .element: outer.append((Column(count: 1, bytes: bytes), 0))
      }
    }
    var stored: [Int: Int] = [:]
    for edge in results {
      stored[edge.node] = outer.count
      let bytes = ir.type(edge).dtype.byteSize
      outer.append((Column(count: columns, bytes: bytes), columns * bytes))
    }
    let items = nodes.map { id, kind in
      ProgramBuilder.Item(
        kind: kind,
        inputs: ir.nodes[id].inputs.map { edge in
          if let place = inputs.firstIndex(of: edge) { return .outer(place) }
          return .value(edge.node)
        }, outputs: [id])
    }
    var builder = ProgramBuilder(values: values, outer: outer, stored: stored)
    return builder.build(items)
  }

  /// Adds the kernel; `table` takes what it gives in place of the nodes' values.
  func apply(to ir: inout IR, _ table: inout [Edge: Edge]) {
    let count = shape.reduce(1, *)
    let columns = isFlat ? min(count, ElementwiseGroup.block) : shape.last ?? 1
    let rows = count / columns
    let rest = count - rows * columns
    let main = program(ir, columns: columns)
    let tail = rest > 0 ? program(ir, columns: rest) : nil
    let flops = nodes.count.multipliedReportingOverflow(by: count)
    let inputCount = inputs.count
    let inPlace = results.indices.map { port in
      inputs.indices.filter { place in
        extents[place] == .full
          && ir.type(inputs[place]).dtype.byteSize == ir.type(results[port]).dtype.byteSize
          && main.mayOverwrite(operand: place, with: inputCount + port)
      }
    }
    let label = "elementwise\(nodes.count)"
    var kernel = Kernel(
      label, scratchBytes: main.scratchBytes(rows: rows, columns: columns, tail: tail),
      inPlace: inPlace, flops: flops.overflow ? .max : flops.partialValue
    ) { call in
      main.runAll(
        rows: rows, bases: call.arguments, columns: columns, tail: tail, scratch: call.scratch,
        pool: call.pool)
    }
    let names = nodes.map { ir.nodes[$0.id].def.name }.joined(separator: " ")
    kernel.details = { [names] }
    let ready = kernel
    let def = OpDef.fused(
      "Elementwise", inputs: inputs.indices.map { "x\($0)" },
      outputs: results.indices.map { "y\($0)" }, summary: "Several elementwise nodes as one."
    ) { _ in ready }
    let last = ir.nodes[nodes[nodes.count - 1].id]
    let id = ir.append(
      IRNode(
        name: last.name, def: def, attrs: [:], inputs: inputs, controls: [],
        outputs: results.map { ir.type($0) }, handles: results.map { _ in nil },
        origin: last.origin, kind: .op, rank: last.rank))
    for (port, edge) in results.enumerated() { table[edge] = Edge(node: id, port: port) }
    for (member, _) in nodes { ir.live[member] = false }
  }
}
