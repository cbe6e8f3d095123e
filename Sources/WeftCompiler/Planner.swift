// From the optimized working graph to a plan: order, kernels, aliases, memory.

internal import WeftGraph
internal import WeftTensors

/// Makes a plan of a working graph. Used once.
package struct Planner {
  private let ir: IR
  private let options: CompileOptions
  private let sessionSeed: UInt64
  private let order: [Int]
  /// Position of each node in `order`.
  private var position: [Int]

  /// A storage group: values that share bytes because one is a view of the other.
  private struct Group {
    var place: Place
    var bytes = 0
    var first = 0
    var last = 0
    /// The variable whose memory it borrows, until a write forces a copy.
    var borrowed: VariableCell?
    /// The node that reads the variable.
    var reader = -1
    /// Set when another group took its memory over.
    var isPlanned = false
  }
  private var groups: [Group] = []
  private var groupOf: [Edge: Int] = [:]
  private var kernels: [Int: Kernel] = [:]
  private var late: Set<Int> = []
  private var slotCount = 0
  /// Positions of steps that write each variable.
  private var writes: [ObjectIdentifier: [Int]] = [:]
  private var copies: Set<Int> = []

  package init(_ ir: IR, options: CompileOptions, sessionSeed: UInt64) {
    self.ir = ir
    self.options = options
    self.sessionSeed = sessionSeed
    // Writes come as late as dependencies allow: whatever is not ordered after a write sees the
    // value from before it, as TensorFlow's gated gradients do, and reads need no copy.
    order = ir.order { node in
      node.rank + (node.def.traits.contains(.writesVariable) ? 1 << 30 : 0)
    }
    position = [Int](repeating: -1, count: ir.nodes.count)
    for (index, id) in order.enumerated() { position[id] = index }
  }

  package mutating func plan(passes: [PassReport]) throws -> Plan {
    for id in order { try lower(id) }
    try collectWrites()
    findLastUses()
    copyBorrowedThatAreWritten()
    let scratch = scratchNeeds()
    let (arenaBytes, unshared, scratchOffsets) = try placeInArena(scratch)
    return try build(
      passes: passes, arenaBytes: arenaBytes, unshared: unshared, scratchOffsets: scratchOffsets)
  }

  // MARK: - Kernels and groups

  private mutating func newGroup(_ place: Place, bytes: Int, at position: Int) -> Int {
    groups.append(Group(place: place, bytes: bytes, first: position, last: position))
    return groups.count - 1
  }

  private mutating func newSlot() -> Place {
    slotCount += 1
    return .slot(slotCount - 1)
  }

  private mutating func lower(_ id: Int) throws {
    let node = ir.nodes[id]
    let at = position[id]
    switch node.kind {
    case .feed(let index):
      groupOf[Edge(node: id, port: 0)] = newGroup(.feed(index), bytes: 0, at: at)
      return
    case .constant(let value):
      groupOf[Edge(node: id, port: 0)] = newGroup(.constant(value), bytes: 0, at: at)
      return
    case .variable:
      for port in node.outputs.indices {
        groupOf[Edge(node: id, port: port)] = newGroup(.none, bytes: 0, at: at)
      }
      return
    case .op: break
    }
    do {
      let kernel = try staticKernel(id)
      if let kernel { kernels[id] = kernel } else { late.insert(id) }
      try placeOutputs(id, kernel)
    } catch {
      throw ir.locate(error, at: id)
    }
  }

  // The kernel, or nil when shapes or values that it depends on are known only in a run.
  private func staticKernel(_ id: Int) throws -> Kernel? {
    let node = ir.nodes[id]
    guard case .kernel(let lower) = node.def.lowering else {
      throw WeftError(.unimplemented, "\(node.def.name) cannot be run")
    }
    let isDataDependent = node.def.traits.contains(.dataDependent)
    for edge in node.inputs {
      let type = ir.type(edge)
      if !type.shape.isFullyKnown && type.dtype != .resource { return nil }
    }
    for output in node.outputs where !output.shape.isFullyKnown {
      if !isDataDependent && output.dtype.isPlain && !output.isReference { return nil }
    }
    final class Asked { var unknown = false }
    let asked = Asked()
    let inputs = node.inputs
    let known = inputs.map { self.ir.known[$0] }
    // The closures run only inside the call to lower, on this thread.
    nonisolated(unsafe) let box = asked
    let ir = self.ir
    let context = LowerContext(
      name: node.name, op: node.def, attrs: Attrs(node.attrs, signature: node.def.signature),
      inputs: inputs.map { ir.type($0) }, outputs: node.outputs, sessionSeed: sessionSeed,
      tensors: { index in
        guard index < known.count else { return nil }
        if known[index] == nil { box.unknown = true }
        return known[index]
      },
      variables: { index in
        guard index < inputs.count else {
          throw WeftError(.internal, "input \(index) does not exist")
        }
        return try ir.cell(of: inputs[index])
      })
    do {
      return try lower(context)
    } catch {
      if asked.unknown { return nil }
      throw error
    }
  }

  private mutating func placeOutputs(_ id: Int, _ kernel: Kernel?) throws {
    let node = ir.nodes[id]
    let at = position[id]
    // A view of a value is the value; a view of a variable borrows its memory while it may.
    let isView = node.def.traits.contains(.view) && node.outputs.count == 1
    if isView, let first = node.inputs.first, node.outputs[0].dtype.isPlain {
      let source = ir.type(first)
      let isRead =
        node.def.traits.contains(.readsVariable)
        || (source.isReference && !node.outputs[0].isReference)
      if isRead, kernel != nil {
        let group = newGroup(.none, bytes: try bytes(node.outputs[0]), at: at)
        groups[group].borrowed = try ir.cell(of: first)
        groups[group].reader = id
        groupOf[Edge(node: id, port: 0)] = group
        return
      }
    }
    if let kernel, case .alias(let input) = kernel.action, node.inputs.indices.contains(input),
      let group = groupOf[node.inputs[input]]
    {
      for port in node.outputs.indices { groupOf[Edge(node: id, port: port)] = group }
      return
    }
    for (port, output) in node.outputs.enumerated() {
      let edge = Edge(node: id, port: port)
      if output.isReference || (output.dtype == .resource && (try? ir.cell(of: edge)) != nil) {
        groupOf[edge] = newGroup(.none, bytes: 0, at: at)
      } else if !output.dtype.isPlain || !output.shape.isFullyKnown {
        groupOf[edge] = newGroup(newSlot(), bytes: 0, at: at)
      } else {
        groupOf[edge] = newGroup(.arena(-1), bytes: try bytes(output), at: at)
      }
    }
  }

  private func bytes(_ type: TensorType) throws -> Int {
    guard let shape = type.shape.known else { return 0 }
    return try Tensor.byteCount(dtype: type.dtype, shape: shape)
  }

  // MARK: - Lifetimes

  private mutating func collectWrites() throws {
    for id in order {
      let node = ir.nodes[id]
      guard case .op = node.kind, node.def.traits.contains(.writesVariable) else { continue }
      for edge in node.inputs where ir.type(edge).dtype == .resource || ir.type(edge).isReference {
        // A nested plan may be given handles of other objects too.
        if node.def.traits.contains(.nested), (try? ir.cell(of: edge)) == nil { continue }
        let cell = try ir.cell(of: edge)
        writes[ObjectIdentifier(cell), default: []].append(position[id])
      }
    }
  }

  private mutating func findLastUses() {
    for id in order {
      for edge in ir.nodes[id].inputs {
        if let group = groupOf[edge] {
          groups[group].last = max(groups[group].last, position[id])
        }
      }
    }
    for edge in ir.fetches {
      if let group = groupOf[edge] { groups[group].last = order.count }
    }
  }

  // A borrowed value is copied when its variable is written while it is still in use.
  private mutating func copyBorrowedThatAreWritten() {
    for index in groups.indices {
      guard let cell = groups[index].borrowed else { continue }
      let from = groups[index].first
      let to = groups[index].last
      let isWritten = writes[ObjectIdentifier(cell)]?.contains { $0 > from && $0 <= to } ?? false
      if isWritten {
        groups[index].place = .arena(-1)
        groups[index].borrowed = nil
        copies.insert(groups[index].reader)
      } else {
        groups[index].place = .variable(cell)
      }
    }
  }

  // MARK: - Memory

  private func scratchNeeds() -> [(id: Int, bytes: Int)] {
    order.compactMap { id in
      guard let kernel = kernels[id], kernel.scratchBytes > 0 else { return nil }
      return (id, kernel.scratchBytes)
    }
  }

  private mutating func placeInArena(
    _ scratch: [(id: Int, bytes: Int)]
  ) throws -> (Int, Int, [Int: Int]) {
    var requests: [MemoryPlan.Request] = []
    var owner: [Int] = []
    var unshared = 0
    var scratchSum = 0
    // Offsets are sums of these: they must not overflow, whatever is shared in the end.
    func add(_ bytes: Int, to sum: inout Int, for id: Int) throws {
      let (next, overflow) = sum.addingReportingOverflow(bytes)
      guard !overflow, bytes >= 0, next < 1 << 61 else {
        throw ir.locate(
          WeftError(
            .resourceExhausted, "the values up to this one are too large for any memory",
            category: .run), at: id)
      }
      sum = next
    }
    // A group that takes over a dying input's memory joins that input's request.
    var joined: [Int: Int] = [:]
    if options.worksInPlace && options.reusesMemory { joined = inPlaceGroups() }
    func root(_ group: Int) -> Int {
      var at = group
      while let next = joined[at] { at = next }
      return at
    }
    var requestOf: [Int: Int] = [:]
    for index in groups.indices {
      guard case .arena = groups[index].place else { continue }
      try add(groups[index].bytes, to: &unshared, for: order[groups[index].first])
      let base = root(index)
      if let request = requestOf[base] {
        requests[request].last = max(requests[request].last, groups[index].last)
        requests[request].first = min(requests[request].first, groups[index].first)
      } else {
        requestOf[base] = requests.count
        requests.append(
          MemoryPlan.Request(
            bytes: groups[base].bytes, first: groups[index].first, last: groups[index].last))
        owner.append(base)
      }
    }
    var scratchRequest: [Int: Int] = [:]
    for (id, bytes) in scratch {
      try add(bytes, to: &scratchSum, for: id)
      scratchRequest[id] = requests.count
      requests.append(
        MemoryPlan.Request(bytes: bytes, first: position[id], last: position[id]))
    }
    let plan = MemoryPlan(requests, sharing: options.reusesMemory)
    for index in groups.indices {
      guard case .arena = groups[index].place, let request = requestOf[root(index)] else {
        continue
      }
      groups[index].place = .arena(plan.offsets[request])
    }
    return (plan.totalBytes, unshared, scratchRequest.mapValues { plan.offsets[$0] })
  }

  // For each group that may be written over a dying input of the same size: that input's group.
  private func inPlaceGroups() -> [Int: Int] {
    var joined: [Int: Int] = [:]
    var taken = Set<Int>()
    for id in order {
      guard let kernel = kernels[id], !kernel.inPlace.isEmpty else { continue }
      let node = ir.nodes[id]
      let at = position[id]
      for (port, candidates) in kernel.inPlace.enumerated() where port < node.outputs.count {
        guard let group = groupOf[Edge(node: id, port: port)],
          case .arena = groups[group].place, groups[group].first == at
        else { continue }
        for input in candidates where node.inputs.indices.contains(input) {
          guard let source = groupOf[node.inputs[input]], source != group,
            case .arena = groups[source].place, groups[source].last == at,
            groups[source].bytes == groups[group].bytes, !taken.contains(source)
          else { continue }
          // Another input that shares the memory would be overwritten while it is read.
          let others = node.inputs.indices.filter {
            $0 != input && groupOf[node.inputs[$0]] == source
              && !candidates.contains($0)
          }
          guard others.isEmpty else { continue }
          taken.insert(source)
          joined[group] = source
          break
        }
      }
    }
    return joined
  }

  // MARK: - The plan

  private func argument(_ edge: Edge) throws -> Argument {
    let type = ir.type(edge)
    if type.dtype == .resource || type.isReference {
      let cell = try? ir.cell(of: edge)
      // A reference that an ordinary op takes is the variable's memory at that moment.
      if let cell, type.isReference {
        return Argument(place: .variable(cell), type: type, cell: cell)
      }
      if cell != nil || type.isReference { return Argument(place: .none, type: type, cell: cell) }
    }
    guard let group = groupOf[edge] else { return Argument(place: .none, type: type, cell: nil) }
    return Argument(place: groups[group].place, type: type, cell: groups[group].borrowed)
  }

  private func build(
    passes: [PassReport], arenaBytes: Int, unshared: Int, scratchOffsets: [Int: Int]
  ) throws -> Plan {
    var steps: [Step] = []
    var arguments: [Argument] = []
    var required: [VariableCell] = []
    var seen = Set<ObjectIdentifier>()
    var assigned = Set<ObjectIdentifier>()
    func require(_ cell: VariableCell) {
      let key = ObjectIdentifier(cell)
      if !assigned.contains(key), seen.insert(key).inserted { required.append(cell) }
    }
    for id in order {
      let node = ir.nodes[id]
      guard case .op = node.kind else { continue }
      let traits = node.def.traits
      if traits.contains(.nested) {
        // Its own plans see, while they run, whether what they read has a value.
      } else if traits.contains(.writesVariable) {
        if traits.contains(.readsVariable) {
          for edge in node.inputs
          where ir.type(edge).dtype == .resource || ir.type(edge).isReference {
            require(try ir.cell(of: edge))
          }
        } else if let first = node.inputs.first {
          assigned.insert(ObjectIdentifier(try ir.cell(of: first)))
        }
      } else {
        let readsHandle = traits.contains(.readsVariable)
        for (index, edge) in node.inputs.enumerated() {
          let wantsReference =
            index < node.def.signature.inputs.count && node.def.signature.inputs[index].isReference
          if (readsHandle && ir.type(edge).dtype == .resource)
            || (ir.type(edge).isReference && !wantsReference)
          {
            require(try ir.cell(of: edge))
          }
        }
      }
      var kernel = kernels[id]
      if copies.contains(id), let type = node.outputs.first {
        kernel = Planner.copyKernel(bytes: try bytes(type))
      } else if let kernel {
        // Views and orderings need no step.
        if case .nothing = kernel.action { continue }
        if case .alias = kernel.action, !late.contains(id) { continue }
        if let group = groupOf[Edge(node: id, port: 0)], groups[group].reader == id { continue }
      }
      let base = arguments.count
      for edge in node.inputs { arguments.append(try argument(edge)) }
      if copies.contains(id), let first = node.inputs.first {
        let cell = try ir.cell(of: first)
        arguments[base] = Argument(
          place: .variable(cell), type: node.outputs[0], cell: cell)
      }
      for port in node.outputs.indices {
        arguments.append(try argument(Edge(node: id, port: port)))
      }
      steps.append(
        Step(
          name: node.name, def: node.def, attrs: node.attrs, origin: node.origin, kernel: kernel,
          argumentBase: base, inputCount: node.inputs.count, outputCount: node.outputs.count,
          scratchOffset: scratchOffsets[id] ?? 0,
          inputNames: node.inputs.map { "\(ir.nodes[$0.node].name):\($0.port)" },
          isLate: late.contains(id) || isSlotted(id)))
    }
    return Plan(
      steps: steps, arguments: arguments, fetches: try ir.fetches.map { try argument($0) },
      feeds: ir.feeds.map(\.type), arenaBytes: arenaBytes, unsharedBytes: unshared,
      slotCount: slotCount, requiredVariables: required, passes: passes)
  }

  // Whether an output's plain memory is found only while running.
  private func isSlotted(_ id: Int) -> Bool {
    let node = ir.nodes[id]
    return node.outputs.indices.contains { port in
      // Objects are given by the kernel itself.
      guard node.outputs[port].dtype.isPlain || node.outputs[port].dtype == .string else {
        return false
      }
      guard let group = groupOf[Edge(node: id, port: port)], case .slot = groups[group].place
      else { return false }
      return true
    }
  }

  private static func copyKernel(bytes: Int) -> Kernel {
    Kernel("copyVariable") { call in
      if bytes > 0 { call.rawOutput(0).copyMemory(from: call.rawInput(0), byteCount: bytes) }
    }
  }
}
