// From elementwise operations to one program over rows.

internal import WeftKernels
internal import WeftTensors

/// Puts operations on values of `[rows, columns]` together as a `RowProgram`.
struct ProgramBuilder {
  /// An operand of an operation: a value of the program, or memory outside it.
  enum Operand: Hashable {
    case value(Int)
    case outer(Int)
  }

  enum Kind {
    case loop(ElementwiseLoop)
    /// The sum of all operands, in order.
    case sum(ElementwiseLoop)
    /// Outputs are columns of the operand, from these on.
    case columns([Int])
    /// The output is the operands side by side.
    case join
  }

  struct Item {
    var kind: Kind
    var inputs: [Operand]
    var outputs: [Int]
  }

  /// Columns of a value, and bytes of an element.
  struct Column {
    var count: Int
    var bytes: Int
  }

  private enum Location: Hashable {
    case register(Int, Int)
    case operand(Int, Int)

    func advanced(_ bytes: Int) -> Location {
      switch self {
      case .register(let index, let offset): .register(index, offset + bytes)
      case .operand(let index, let offset): .operand(index, offset + bytes)
      }
    }
  }

  private struct Draft {
    var code: RowProgram.Instruction.Code
    var inputs: [(place: Location, extent: RowProgram.Extent)]
    var output: Location
    var count: Int
  }

  private let values: [Int: Column]
  private let outer: [Column]
  private let strides: [Int]
  private let stored: [Int: Int]
  private var places: [Int: Location] = [:]
  private var drafts: [Draft] = []
  private var registers: [Int] = []

  /// - Parameters:
  ///   - values: the values of the program.
  ///   - outer: its operands, with the bytes from row to row.
  ///   - stored: values that must also stand in an operand's memory.
  init(values: [Int: Column], outer: [(column: Column, stride: Int)], stored: [Int: Int]) {
    self.values = values
    self.outer = outer.map(\.column)
    strides = outer.map(\.stride)
    self.stored = stored
  }

  private func column(_ operand: Operand) -> Column {
    switch operand {
    case .value(let id): values[id] ?? Column(count: 0, bytes: 1)
    case .outer(let index): outer[index]
    }
  }

  private func place(_ operand: Operand) -> Location {
    switch operand {
    case .value(let id): places[id] ?? .register(0, 0)
    case .outer(let index): .operand(index, 0)
    }
  }

  // Where a new value goes: its own memory, or a register.
  private mutating func home(_ id: Int) -> Location {
    if let place = places[id] { return place }
    let place: Location
    if let index = stored[id] {
      place = .operand(index, 0)
    } else {
      let column = values[id] ?? Column(count: 0, bytes: 1)
      registers.append(column.count * column.bytes)
      place = .register(registers.count - 1, 0)
    }
    places[id] = place
    return place
  }

  /// The program of `items`, which stand in an order that they can run in.
  mutating func build(_ items: [Item]) -> RowProgram {
    aimAtJoins(items)
    for item in items { add(item) }
    return finish()
  }

  // What a join puts side by side is made in its place.
  private mutating func aimAtJoins(_ items: [Item]) {
    var made = Set<Int>()
    for item in items {
      switch item.kind {
      case .loop, .sum: made.formUnion(item.outputs)
      case .columns, .join: break
      }
    }
    // Later joins first: a join within a join then has its place already.
    for item in items.reversed() {
      guard case .join = item.kind, let output = item.outputs.first else { continue }
      let base = home(output)
      var offset = 0
      for input in item.inputs {
        let column = column(input)
        if case .value(let id) = input, made.contains(id), stored[id] == nil, places[id] == nil {
          places[id] = base.advanced(offset)
        }
        offset += column.count * column.bytes
      }
    }
  }

  private mutating func add(_ item: Item) {
    switch item.kind {
    case .loop(let loop):
      append(.loop(loop), item.inputs, home(item.outputs[0]), values[item.outputs[0]])
    case .sum(let loop):
      let out = home(item.outputs[0])
      guard item.inputs.count > 1 else {
        return copy(item.inputs[0], to: out)
      }
      append(.loop(loop), Array(item.inputs.prefix(2)), out, values[item.outputs[0]])
      for input in item.inputs.dropFirst(2) {
        append(.loop(loop), [.value(item.outputs[0]), input], out, values[item.outputs[0]])
      }
    case .columns(let offsets):
      let source = place(item.inputs[0])
      let bytes = column(item.inputs[0]).bytes
      for (output, offset) in zip(item.outputs, offsets) {
        let from = source.advanced(offset * bytes)
        guard stored[output] != nil || places[output] != nil else {
          places[output] = from
          continue
        }
        let column = values[output] ?? Column(count: 0, bytes: 1)
        drafts.append(
          Draft(
            code: .copy(elementBytes: bytes), inputs: [(from, .row)], output: home(output),
            count: column.count))
      }
    case .join:
      let base = home(item.outputs[0])
      var offset = 0
      for input in item.inputs {
        let column = column(input)
        copy(input, to: base.advanced(offset))
        offset += column.count * column.bytes
      }
    }
  }

  private mutating func copy(_ input: Operand, to target: Location) {
    let source = place(input)
    if source == target { return }
    let column = column(input)
    drafts.append(
      Draft(
        code: .copy(elementBytes: column.bytes), inputs: [(source, .row)], output: target,
        count: column.count))
  }

  private mutating func append(
    _ code: RowProgram.Instruction.Code, _ inputs: [Operand], _ output: Location,
    _ column: Column?
  ) {
    let count = column?.count ?? 0
    drafts.append(
      Draft(
        code: code,
        inputs: inputs.map { input in
          (place(input), self.column(input).count == count ? .row : .element)
        }, output: output, count: count))
  }

  // Registers whose values do not live at the same time share bytes.
  private func finish() -> RowProgram {
    var requests = registers.map { MemoryPlan.Request(bytes: $0, first: Int.max, last: -1) }
    func note(_ place: Location, _ at: Int) {
      guard case .register(let index, _) = place else { return }
      requests[index].first = min(requests[index].first, at)
      requests[index].last = max(requests[index].last, at)
    }
    for (at, draft) in drafts.enumerated() {
      note(draft.output, at)
      for input in draft.inputs { note(input.place, at) }
    }
    for index in requests.indices where requests[index].last < 0 {
      (requests[index].first, requests[index].last) = (0, 0)
    }
    let plan = MemoryPlan(requests, sharing: true)
    func final(_ place: Location) -> RowProgram.Place {
      switch place {
      case .register(let index, let offset): .register(plan.offsets[index] + offset)
      case .operand(let index, let offset): .operand(index, offset: offset)
      }
    }
    return RowProgram(
      instructions: drafts.map { draft in
        RowProgram.Instruction(
          code: draft.code, inputs: draft.inputs.map { (final($0.place), $0.extent) },
          output: final(draft.output), count: draft.count)
      }, rowStrides: strides, registerBytes: plan.totalBytes)
  }
}
