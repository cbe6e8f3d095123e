// From the optimized working graph to a plan: order, kernels, aliases, memory.

internal import WeftGraph
internal import WeftTensors

/// Makes a plan of a working graph. Used once.
package struct Planner {
  let ir: IR
  let options: CompileOptions
  private let sessionSeed: UInt64
  let order: [Int]
  /// Position of each node in `order`.
  var position: [Int]

  /// A storage group: values that share bytes because one is a view of the other.
  struct Group {
    var place: Place
    var bytes = 0
    var first = 0
    var last = 0
    /// The variable whose memory it borrows, until a write forces a copy.
    var borrowed: VariableCell?
    /// The node that reads the variable.
    var reader = -1
  }
  var groups: [Group] = []
  var groupOf: [Edge: Int] = [:]
  /// Where a value that is a part of its group begins; others are all of it.
  var offsetOf: [Edge: Int] = [:]
  /// Nodes whose outputs are such parts.
  private var cutters: Set<Int> = []
  var kernels: [Int: Kernel] = [:]
  private var late: Set<Int> = []
  private var slotCount = 0
  /// Positions of steps that write each variable.
  var writes: [ObjectIdentifier: [Int]] = [:]
  var copies: Set<Int> = []
  private var kept = KeptMemory()

  package init(_ ir: IR, options: CompileOptions, sessionSeed: UInt64) {
    self.ir = ir
    self.options = options
    self.sessionSeed = sessionSeed
    order = ir.schedule()
    position = [Int](repeating: -1, count: ir.nodes.count)
    for (index, id) in order.enumerated() { position[id] = index }
  }

  package mutating func plan(passes: [PassReport]) throws -> Plan {
    for id in order { try lower(id) }
    findKeptMemory()
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
      for port in node.outputs.indices {
        groupOf[Edge(node: id, port: port)] = group
        offsetOf[Edge(node: id, port: port)] = offsetOf[node.inputs[input]]
      }
      return
    }
    if let kernel, try placePieces(id, kernel) { return }
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

  // Parts of a value as it lies share its memory, unless a small one would keep much of it in use.
  private mutating func placePieces(_ id: Int, _ kernel: Kernel) throws -> Bool {
    let node = ir.nodes[id]
    guard options.reusesMemory, let pieces = kernel.pieces,
      node.inputs.indices.contains(pieces.input), let group = groupOf[node.inputs[pieces.input]],
      case .arena = groups[group].place
    else { return false }
    let sizes = try node.outputs.map { try bytes($0) }
    guard sizes.allSatisfy({ $0 > 0 }), pieces.offsets.allSatisfy({ $0 % 64 == 0 }),
      sizes.reduce(0, +) >= groups[group].bytes / 4
    else { return false }
    let start = offsetOf[node.inputs[pieces.input]] ?? 0
    for (port, offset) in pieces.offsets.enumerated() {
      groupOf[Edge(node: id, port: port)] = group
      offsetOf[Edge(node: id, port: port)] = start + offset
    }
    cutters.insert(id)
    return true
  }

  private func bytes(_ type: TensorType) throws -> Int {
    guard let shape = type.shape.known else { return 0 }
    return try Tensor.byteCount(dtype: type.dtype, shape: shape)
  }

  private mutating func findKeptMemory() {
    var finder = KeptMemoryFinder(ir, kernels: kernels)
    kept = finder.find(order)
    for (id, line) in finder.lines {
      let details = kernels[id]?.details
      kernels[id]?.details = { [line] + (details?() ?? []) }
    }
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
    var place = groups[group].place
    if case .arena(let base) = place, let offset = offsetOf[edge] { place = .arena(base + offset) }
    return Argument(place: place, type: type, cell: groups[group].borrowed)
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
        if cutters.contains(id) { continue }
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
      feeds: ir.feeds.map(\.type), arenaBytes: arenaBytes, unsharedBytes: unshared, kept: kept,
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
