// A loop's body made ready for a number of rows: products and programs over rows, with addresses
// that follow the step.

internal import WeftGraph
internal import WeftKernels
internal import WeftOps
internal import WeftTensors

/// The units of one step, in order, and the memory they share.
struct LoopProgram: Sendable {
  /// Where an argument lies, as a function of the step.
  struct Address: Sendable {
    enum Base: Sendable, Equatable {
      /// An input or output of the loop, by its place among the arguments.
      case argument(Int)
      /// Memory of the chunk.
      case local
      /// Panels of matrices, which all chunks share.
      case shared
    }
    var base: Base
    var offset = 0
    /// Bytes from step to step.
    var stride = 0
    /// Bytes from row to row, for the chunk's first row.
    var rowBytes = 0
    /// Steps from the current one.
    var shift = 0
    /// The steps for which it holds what counts.
    var valid = 0..<Int.max
    /// The argument in place of any other step, with its own bytes from row to row.
    var boundary: (argument: Int, rowBytes: Int)?
    /// Whether two halves, `stride` bytes apart, serve even and odd steps.
    var alternates = false
    /// Where live rows are put side by side in place of the argument's rows: one of `stagedRows`.
    var staged: Int?
    /// The same for the boundary of a value that lies in the chunk's memory.
    var stagedBoundary: Int?
  }

  /// Rows of an argument that are live in a step, side by side in the chunk's memory.
  struct StagedRows: Sendable {
    var address: Address
    /// Bytes from the start of the chunk's memory.
    var offset: Int
    var role: Role

    enum Role: Sendable {
      /// There before the step.
      case operand
      /// There before it, and needed only where a boundary is.
      case boundary
      /// Made by the step.
      case result
    }
  }

  enum Unit: Sendable {
    /// A product with panels that all chunks share.
    case product(SharedProduct)
    case kernel(@Sendable (borrowing KernelCall) throws -> Void, inputCount: Int, scratch: Int)
    case program(RowProgram, registers: Int)
  }

  /// What a step does, each with its first address.
  var units: [(unit: Unit, first: Int)] = []
  var addresses: [Address] = []
  /// Empty unless rows have lengths of their own.
  var stagedRows: [StagedRows] = []
  /// Bytes of memory for one chunk.
  var localBytes = 0
  let rows: Int

  private let body: LoopBody
  private var kernels: [Kernel] = []
  /// For each value, the unit that makes it.
  private var maker: [Int?]
  private var localOf: [Int: Int] = [:]

  /// - Parameter rows: rows of a chunk; all rows when the body mixes them.
  init(_ body: LoopBody, rows: Int) throws {
    self.body = body
    self.rows = rows
    maker = Array(repeating: nil, count: body.values.count)
    kernels = try body.ops.map { try body.lower($0, rows: rows) }
    let plan = schedule()
    try place(plan)
    placeStagedRows()
  }

  /// Floating-point operations of one step, and those of products among them.
  var flops: Int { kernels.reduce(0) { $0 &+ $1.flops } }
  var productFlops: Int { kernels.reduce(0) { $0 &+ $1.productFlops } }
  /// What each unit is, for reports.
  private(set) var summary: [String] = []

  // MARK: - Order

  private struct Stage {
    /// Ops with kernels of their own, then those that form one program.
    var heavy: [Int] = []
    var light: [Int] = []
  }

  // Whether an op can be part of a program over rows.
  private func isLight(_ index: Int) -> Bool {
    let op = body.ops[index]
    guard body.rows > 0, op.outputs.allSatisfy({ body.values[$0].type.shape.rank == 2 }) else {
      return false
    }
    let fits = op.inputTypes.indices.allSatisfy { place in
      if op.constants[place] != nil && !body.isOperand(op, place) { return true }
      guard let rank = op.inputTypes[place].shape.rank else { return false }
      return rank <= 2
    }
    guard fits else { return false }
    if op.def === KnownOp.split || op.def === KnownOp.splitV || op.def === KnownOp.concat
      || op.def === KnownOp.slice || op.def === KnownOp.addN
      || KnownOp.biasAdd.contains(where: { $0 === op.def })
      || op.def.traits.contains(.view)
    {
      return true
    }
    return kernels[index].loop != nil
  }

  // Stages by how many heavy ops lie before: what shares a stage needs nothing made between.
  private mutating func schedule() -> [Stage] {
    var level = [Int](repeating: 0, count: body.values.count)
    var stages: [Stage] = []
    for (index, op) in body.ops.enumerated() {
      var depth = 0
      for (place, ref) in op.inputs.enumerated() where body.isOperand(op, place) {
        if case .value(let id, 0, _) = ref { depth = max(depth, level[id]) }
      }
      let light = isLight(index)
      if !light { depth += 1 }
      for id in op.outputs { level[id] = depth }
      while stages.count <= depth { stages.append(Stage()) }
      if light { stages[depth].light.append(index) } else { stages[depth].heavy.append(index) }
    }
    return stages
  }

  // MARK: - Memory

  private mutating func place(_ stages: [Stage]) throws {
    // Units in order; values that leave their unit get memory.
    var order: [[Int]] = []
    for stage in stages {
      order += stage.heavy.map { [$0] }
      if !stage.light.isEmpty { order.append(stage.light) }
    }
    var last = [Int](repeating: -1, count: body.values.count)
    for (unit, ops) in order.enumerated() {
      for index in ops {
        for id in body.ops[index].outputs { maker[id] = unit }
      }
    }
    for (unit, ops) in order.enumerated() {
      for index in ops {
        for case .value(let id, 0, _) in body.ops[index].inputs where maker[id] != unit {
          last[id] = max(last[id], unit)
        }
      }
    }
    var requests: [MemoryPlan.Request] = []
    var owners: [Int] = []
    for (id, value) in body.values.enumerated() {
      guard value.result == nil, let unit = maker[id] else { continue }
      let bytes = try size(value.type, rows: rows)
      if value.isCarried {
        // Two halves: the next step reads one while it writes the other.
        requests.append(
          MemoryPlan.Request(bytes: 2 * aligned(bytes), first: 0, last: order.count))
      } else if last[id] >= 0 {
        requests.append(MemoryPlan.Request(bytes: bytes, first: unit, last: last[id]))
      } else if order[unit].count == 1, !isLight(order[unit][0]) {
        // A kernel writes all its outputs, whether anything reads them or not.
        requests.append(MemoryPlan.Request(bytes: bytes, first: unit, last: unit))
      } else {
        continue
      }
      owners.append(id)
    }
    var scratch: [Int: Int] = [:]
    for (unit, ops) in order.enumerated() where ops.count == 1 && !isLight(ops[0]) {
      let bytes = kernels[ops[0]].scratchBytes
      if bytes > 0 {
        scratch[unit] = requests.count
        requests.append(MemoryPlan.Request(bytes: bytes, first: unit, last: unit))
      }
    }
    let plan = MemoryPlan(requests, sharing: true)
    for (index, id) in owners.enumerated() { localOf[id] = plan.offsets[index] }
    localBytes = plan.totalBytes
    let shared = body.sharedMatrices()
    var registers = 0
    for (unit, ops) in order.enumerated() {
      let first = addresses.count
      summary.append(ops.map { body.ops[$0].def.name }.joined(separator: " "))
      if ops.count == 1, !isLight(ops[0]) {
        let op = body.ops[ops[0]]
        for (place, ref) in op.inputs.enumerated() {
          if place == 1, let matrix = body.sharedMatrix(op) {
            let offset = shared.first { $0.matrix == matrix }?.offset ?? 0
            addresses.append(Address(base: .shared, offset: offset))
          } else {
            add(try address(ref, body.inputHasRows(op, place)))
          }
        }
        for id in op.outputs { add(try home(id)) }
        if let product = body.sharedMatrix(op)?.product {
          units.append((.product(product), first))
          continue
        }
        let offset = scratch[unit].map { plan.offsets[$0] } ?? 0
        switch kernels[ops[0]].action {
        case .call(let function):
          units.append(
            (
              .kernel(function, inputCount: op.inputs.count, scratch: offset), first
            ))
        case .alias(let input):
          let bytes = try size(body.values[op.outputs[0]].type, rows: rows)
          units.append(
            (
              .kernel(
                { call in
                  call.rawOutput(0).copyMemory(from: call.rawInput(input), byteCount: bytes)
                }, inputCount: op.inputs.count, scratch: offset), first
            ))
        case .nothing, .keeping: continue
        }
      } else {
        let program = try program(ops, last)
        registers = max(registers, program.scratchBytes)
        units.append((.program(program, registers: localBytes), first))
      }
    }
    localBytes = aligned(localBytes + registers)
  }

  private func aligned(_ bytes: Int) -> Int { (bytes + 63) & ~63 }

  private func size(_ type: TensorType, rows: Int) throws -> Int {
    try Tensor.byteCount(dtype: type.dtype, shape: body.cut(type, to: rows).shape.known ?? [])
  }

  private func rowBytes(_ type: TensorType) throws -> Int {
    guard body.rows > 0 else { return 0 }
    return try size(type, rows: body.rows) / body.rows
  }

  // Adds an address; rows of arguments are staged where only some of them are live.
  private mutating func add(_ address: Address) {
    var address = address
    if body.lengths != nil {
      if case .argument(let index) = address.base, address.rowBytes > 0 {
        let isResult = index >= body.argumentCount && address.shift == 0
        address.staged = stage(address, isResult ? .result : .operand)
      } else if let boundary = address.boundary, boundary.rowBytes > 0 {
        var source = Address(base: .argument(boundary.argument), rowBytes: boundary.rowBytes)
        (source.shift, source.valid) = (address.shift, address.valid)
        address.stagedBoundary = stage(source, .boundary)
      }
    }
    addresses.append(address)
  }

  private mutating func stage(_ address: Address, _ role: StagedRows.Role) -> Int {
    let known = stagedRows.firstIndex { rows in
      let other = rows.address
      return rows.role == role && other.base == address.base && other.shift == address.shift
        && other.boundary?.argument == address.boundary?.argument
    }
    if let known { return known }
    stagedRows.append(StagedRows(address: address, offset: 0, role: role))
    return stagedRows.count - 1
  }

  private mutating func placeStagedRows() {
    for index in stagedRows.indices {
      stagedRows[index].offset = localBytes
      localBytes += aligned(rows * stagedRows[index].address.rowBytes)
    }
  }

  // Where a value is written in the current step.
  private func home(
    _ id: Int, shift: Int = 0, boundary: Int? = nil, isRead: Bool = false
  ) throws -> Address {
    let value = body.values[id]
    var address = Address(base: .local)
    if let result = value.result {
      address.base = .argument(body.argumentCount + result)
      address.stride = try size(value.type, rows: body.rows)
      address.rowBytes = try rowBytes(value.type)
    } else {
      address.offset = localOf[id] ?? 0
      if value.isCarried {
        address.stride = aligned(try size(value.type, rows: rows))
        address.alternates = true
      }
    }
    address.shift = shift
    address.valid = isRead ? value.valid : 0..<body.steps
    if let boundary {
      let type = body.inputTypes[boundary]
      address.boundary = (boundary, body.hasRows(type) ? try rowBytes(type) : 0)
    }
    return address
  }

  private func address(_ ref: LoopBody.Ref, _ hasRows: Bool) throws -> Address {
    switch ref {
    case .input(let index):
      return Address(
        base: .argument(index), rowBytes: hasRows ? try rowBytes(body.inputTypes[index]) : 0)
    case .step(let index, let shift, let boundary, let valid):
      // One step of the input: without its first dimension.
      guard let sizes = body.inputTypes[index].shape.known else {
        throw WeftError(.internal, "a loop's input has no shape")
      }
      let type = TensorType(body.inputTypes[index].dtype, Shape(Array(sizes.dropFirst())))
      var address = Address(base: .argument(index))
      address.stride = try size(type, rows: body.rows)
      address.rowBytes = hasRows ? try rowBytes(type) : 0
      address.shift = shift
      address.valid = valid
      if let boundary {
        let type = body.inputTypes[boundary]
        address.boundary = (boundary, hasRows ? try rowBytes(type) : 0)
      }
      return address
    case .value(let id, let shift, let boundary):
      return try home(id, shift: shift, boundary: boundary, isRead: true)
    }
  }

  // MARK: - Programs

  private mutating func program(_ ops: [Int], _ last: [Int]) throws -> RowProgram {
    var operands: [(column: ProgramBuilder.Column, stride: Int)] = []
    var operandOf: [LoopBody.Ref: Int] = [:]
    var own = Set<Int>()
    for index in ops { own.formUnion(body.ops[index].outputs) }

    func column(_ type: TensorType) -> ProgramBuilder.Column {
      let sizes = type.shape.known ?? []
      return ProgramBuilder.Column(count: sizes.last ?? 1, bytes: type.dtype.byteSize)
    }
    var values: [Int: ProgramBuilder.Column] = [:]
    var stored: [Int: Int] = [:]
    func addOperand(
      _ address: Address, _ type: TensorType, _ hasRows: Bool
    ) -> Int {
      add(address)
      let column = column(type)
      operands.append((column, hasRows ? column.count * column.bytes : 0))
      return operands.count - 1
    }
    for index in ops {
      for id in body.ops[index].outputs {
        let value = body.values[id]
        values[id] = column(value.type)
        if value.result != nil || value.isCarried || last[id] >= 0 {
          stored[id] = addOperand(try home(id), value.type, true)
        }
      }
    }
    func operand(_ op: LoopBody.Op, _ place: Int) throws -> ProgramBuilder.Operand {
      let ref = op.inputs[place]
      if case .value(let id, 0, _) = ref, own.contains(id) { return .value(id) }
      if let known = operandOf[ref] { return .outer(known) }
      let hasRows = body.inputHasRows(op, place)
      let made = addOperand(try address(ref, hasRows), op.inputTypes[place], hasRows)
      operandOf[ref] = made
      return .outer(made)
    }
    var items: [ProgramBuilder.Item] = []
    for index in ops {
      let op = body.ops[index]
      let places = op.inputs.indices.filter { body.isOperand(op, $0) }
      let inputs = try places.map { try operand(op, $0) }
      items.append(
        ProgramBuilder.Item(kind: try kind(index), inputs: inputs, outputs: op.outputs))
    }
    var builder = ProgramBuilder(values: values, outer: operands, stored: stored)
    return builder.build(items)
  }

  private func kind(_ index: Int) throws -> ProgramBuilder.Kind {
    let op = body.ops[index]
    if op.def === KnownOp.split || op.def === KnownOp.splitV {
      var offsets = [0]
      for id in op.outputs.dropLast() {
        offsets.append((offsets.last ?? 0) + (body.values[id].type.shape.known?.last ?? 0))
      }
      return .columns(offsets)
    }
    if op.def === KnownOp.slice { return .columns([op.constants[1]?.integers?.last ?? 0]) }
    if op.def === KnownOp.concat { return .join }
    if op.def.traits.contains(.view) { return .columns([0]) }
    if let loop = kernels[index].loop { return .loop(loop) }
    let type = body.values[op.outputs[0]].type
    guard let loop = ElementwiseLoop.addition(type.dtype) else {
      throw WeftError(.unimplemented, "\(op.def.name) has no loop for \(type.dtype.name)")
    }
    return op.def === KnownOp.addN ? .sum(loop) : .loop(loop)
  }
}
