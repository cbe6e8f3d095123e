// Sparse updates with memory and kernels chosen before the run.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension IR {
  /// The gradient of an embedding is summed up over equal ids, and as many rows are updated as there
  /// are distinct ones. That number is found in the run, but it is at most that of the ids: where all
  /// that follows goes row by row, values get as many rows as there are ids, and the kernels that
  /// write rows to variables are told how many of them count.
  mutating func boundSparseRows() {
    var users: Users?
    for id in nodes.indices where live[id] && isOp(id, KnownOp.unique) {
      let current = users ?? Users(self)
      users = current
      guard let rows = SparseRows(self, id, current) else { continue }
      rows.apply(to: &self)
      markLive()
      users = nil
    }
  }
}

/// What depends on the number of distinct ids.
private struct SparseRows {
  private let unique: Int
  private let count: Int
  /// Values with a row for each distinct id, in the order they were found.
  private var values: [Edge]
  private var seen: Set<Edge>
  /// Sums over equal ids.
  private var sums: Set<Int> = []
  /// What computes rows from rows.
  private var elementwise: Set<Int> = []
  /// What writes rows to variables.
  private var updates: Set<Int> = []

  init?(_ ir: IR, _ id: Int, _ users: Users) {
    unique = id
    let found = Edge(node: id, port: 0)
    guard let shape = ir.shape(ir.nodes[id].inputs[0]), shape.count == 1, let count = shape.first,
      count > 0, ir.type(found).dtype.isInteger, !ir.type(found).shape.isFullyKnown,
      !users.fetched(found)
    else { return nil }
    self.count = count
    (values, seen) = ([found], [found])
    var next = 0
    while next < values.count {
      let value = values[next]
      next += 1
      for use in users[value] {
        guard follow(ir, users, use, value) else { return nil }
      }
    }
    guard !updates.isEmpty, updates.allSatisfy({ isUpdate(ir, $0) }),
      elementwise.allSatisfy({ hasRows(ir, $0) }), fits(ir)
    else { return nil }
  }

  private mutating func add(_ edge: Edge, _ ir: IR, _ users: Users) -> Bool {
    guard let dims = ir.type(edge).shape.dims, dims.first?.size == nil, dims.count > 1,
      dims.dropFirst().allSatisfy({ $0.size != nil }), !users.fetched(edge)
    else { return false }
    if seen.insert(edge).inserted { values.append(edge) }
    return true
  }

  private mutating func follow(_ ir: IR, _ users: Users, _ use: Users.Use, _ value: Edge) -> Bool {
    let node = ir.nodes[use.node]
    let isIndex = value == Edge(node: unique, port: 0)
    if let places = node.def.rowPlaces {
      guard use.input == (isIndex ? places.indices : places.rows) else { return false }
      updates.insert(use.node)
      return true
    }
    let out = Edge(node: use.node, port: 0)
    if isIndex, ir.isOp(use.node, KnownOp.shape) {
      return users[out].allSatisfy { followCount(ir, users, $0) } && !users.fetched(out)
    }
    // Rows of variables, those of the first id once more where there are fewer.
    if isIndex, use.input == 1, ir.integer(use.node, "batch_dims") ?? 0 == 0,
      ir.isOp(use.node, KnownOp.resourceGather)
        || (ir.isOp(use.node, KnownOp.gather) && ir.known[node.inputs[2]]?.integers == [0])
    {
      return add(out, ir, users)
    }
    guard !isIndex, node.def.traits.contains(.elementwise), node.outputs.count == 1,
      !node.isStateful, node.outputs[0].dtype.isFloating
    else { return false }
    elementwise.insert(use.node)
    return add(out, ir, users)
  }

  // Whether all operands are rows found here, or broadcast to each of them.
  private func hasRows(_ ir: IR, _ id: Int) -> Bool {
    let rank = ir.nodes[id].outputs[0].shape.rank ?? 0
    return ir.nodes[id].inputs.allSatisfy { edge in
      if seen.contains(edge) { return ir.type(edge).shape.rank == rank }
      return ir.shape(edge).map { $0.count < rank } ?? false
    }
  }

  // The number of distinct ids, which only sums by the places of the same ids may use.
  private mutating func followCount(_ ir: IR, _ users: Users, _ use: Users.Use) -> Bool {
    let out = Edge(node: use.node, port: 0)
    if ir.isOp(use.node, KnownOp.stridedSlice) {
      guard use.input == 0, ir.shape(out) == [],
        ir.known[ir.nodes[use.node].inputs[1]]?.integers == [0], !users.fetched(out)
      else { return false }
      return users[out].allSatisfy { followCount(ir, users, $0) }
    }
    guard ir.isOp(use.node, KnownOp.unsortedSegmentSum), use.input == 2,
      ir.nodes[use.node].inputs[1] == Edge(node: unique, port: 1),
      ir.type(out).dtype.isFloating
    else { return false }
    sums.insert(use.node)
    return add(out, ir, users)
  }

  private func isUpdate(_ ir: IR, _ id: Int) -> Bool {
    guard let places = ir.nodes[id].def.rowPlaces else { return false }
    let inputs = ir.nodes[id].inputs
    return inputs[places.indices] == Edge(node: unique, port: 0)
      && seen.contains(inputs[places.rows])
      && inputs.indices.allSatisfy { index in
        index == places.indices || index == places.rows || ir.type(inputs[index]).dtype == .resource
          || ir.shape(inputs[index]) != nil
      }
  }

  // Whether so many rows leave room for other values.
  private func fits(_ ir: IR) -> Bool {
    var bytes = 0
    for edge in values {
      let rest = ir.type(edge).shape.dims?.dropFirst().compactMap(\.size) ?? []
      guard
        let size = try? Tensor.byteCount(dtype: ir.type(edge).dtype, shape: [count] + rest),
        size <= ir.memoryLimit / 4 - bytes
      else { return false }
      bytes += size
    }
    return true
  }

  func apply(to ir: inout IR) {
    guard let number = try? Tensor(scalar: Int32(clamping: count)) else { return }
    let old = ir.nodes[unique]
    var fresh = old
    fresh.def = KnownOp.countedUnique
    let ids = TensorType(old.outputs[0].dtype, Shape([count]))
    fresh.outputs = [ids, old.outputs[1], TensorType(.int32, .scalar)]
    fresh.handles = [nil, nil, nil]
    let node = ir.append(fresh)
    ir.replace([
      Edge(node: unique, port: 0): Edge(node: node, port: 0),
      Edge(node: unique, port: 1): Edge(node: node, port: 1),
    ])
    let most = ir.constant(number, name: "\(old.name)/most")
    for edge in values.dropFirst() {
      let type = ir.type(edge)
      let rest = type.shape.dims?.dropFirst().compactMap(\.size) ?? []
      ir.nodes[edge.node].outputs[edge.port] = TensorType(type.dtype, Shape([count] + rest))
      if sums.contains(edge.node) {
        ir.nodes[edge.node].inputs[2] = most
        ir.nodes[edge.node].attrs["Tnumsegments"] = .type(.int32)
      }
    }
    for id in updates.sorted() {
      ir.nodes[id].def = ir.nodes[id].def.countingRows()
      ir.nodes[id].inputs.append(Edge(node: node, port: 2))
    }
  }
}
