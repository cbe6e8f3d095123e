// One chunk of rows of a rolled loop through all its steps.

internal import WeftKernels
internal import WeftTensors

struct LoopRun: Sendable {
  private let steps: Int
  private let isReversed: Bool
  private let rows: Int
  private let chunks: Int
  private let lengthsArgument: Int?
  /// Results whose steps that are left out become zero: argument, bytes of a row and of a step.
  private let filled: [(argument: Int, rowBytes: Int, stepBytes: Int)]

  init(body: LoopBody, chunks: Int) {
    steps = body.steps
    isReversed = body.isReversed
    rows = body.rows
    self.chunks = chunks
    lengthsArgument = body.lengths == nil ? nil : body.inputTypes.count
    var filled: [(argument: Int, rowBytes: Int, stepBytes: Int)] = []
    for value in body.values {
      guard let result = value.result, body.lengths?.fills[result] == true else { continue }
      let columns = value.type.shape.known?.dropFirst().reduce(1, *) ?? 0
      let bytes = columns * value.type.dtype.byteSize
      filled.append((body.argumentCount + result, bytes, bytes * body.rows))
    }
    self.filled = filled
  }

  /// Where the operands of one chunk lie.
  struct Memory {
    let arguments: UnsafePointer<UnsafeMutableRawPointer>
    let panels: UnsafeMutableRawPointer
    let local: UnsafeMutableRawPointer
    let firstRow: Int
  }

  /// Rows by length, longest first, and those lengths: chunk c has every `chunks`-th from c on, so
  /// that all have alike work, and in each step the first few rows are live.
  struct Order {
    let rows: UnsafeMutablePointer<Int32>
    let lengths: UnsafeMutablePointer<Int32>
  }

  /// Bytes that `order` needs.
  var orderBytes: Int { lengthsArgument == nil ? 0 : ((2 * rows + steps + 1) * 4 + 63) & ~63 }

  /// The order for these lengths, in `memory`; nil when every row takes all steps.
  func order(
    _ arguments: UnsafePointer<UnsafeMutableRawPointer>, _ memory: UnsafeMutableRawPointer
  ) -> Order? {
    guard let lengthsArgument else { return nil }
    let given = arguments[lengthsArgument].assumingMemoryBound(to: Int32.self)
    let order = Order(
      rows: memory.assumingMemoryBound(to: Int32.self),
      lengths: (memory + rows * 4).assumingMemoryBound(to: Int32.self))
    // Counted: places of each length begin where those of longer ones end.
    let places = (memory + 2 * rows * 4).assumingMemoryBound(to: Int32.self)
    places.initialize(repeating: 0, count: steps + 1)
    for row in 0..<rows { places[Int(given[row])] += 1 }
    var sum: Int32 = 0
    for length in stride(from: steps, through: 0, by: -1) {
      let count = places[length]
      places[length] = sum
      sum += count
    }
    for row in 0..<rows {
      let length = given[row]
      let at = Int(places[Int(length)])
      places[Int(length)] += 1
      order.rows[at] = Int32(truncatingIfNeeded: row)
      order.lengths[at] = length
    }
    return order
  }

  /// The rows of one chunk that are live.
  private struct Live {
    let order: Order
    let chunk: Int
    let chunks: Int
    /// How many rows the chunk has.
    let size: Int

    func row(_ j: Int) -> Int { Int(order.rows[chunk + j * chunks]) }
    func length(_ j: Int) -> Int { Int(order.lengths[chunk + j * chunks]) }
  }

  func chunk(
    _ program: LoopProgram, _ index: Int, _ memory: Memory, _ order: Order?, pool: ThreadPool,
    objects: RunObjects
  ) throws {
    let live = order.map {
      Live(
        order: $0, chunk: index, chunks: chunks,
        size: (rows - index + chunks - 1) / max(1, chunks))
    }
    if live != nil {
      // Rows that begin later in a reversed loop begin with zeros.
      memory.local.initializeMemory(as: UInt8.self, repeating: 0, count: program.localBytes)
    }
    try withUnsafeTemporaryAllocation(
      of: UnsafeMutableRawPointer.self, capacity: program.addresses.count + 1
    ) { buffer in
      guard let pointers = buffer.baseAddress else { return }
      var count = live == nil ? program.rows : 0
      for index in 0..<steps {
        let step = isReversed ? steps - 1 - index : index
        if let live {
          if index == 0 && !isReversed { count = live.size }
          while count > 0 && live.length(count - 1) <= step { count -= 1 }
          while count < live.size && live.length(count) > step { count += 1 }
          if count == 0 { continue }
          for rows in program.stagedRows where rows.role != .result {
            gather(rows, step, count, live, memory)
          }
        }
        for (place, address) in program.addresses.enumerated() {
          (pointers + place).initialize(to: self.address(address, step, program, memory))
        }
        for (unit, first) in program.units {
          switch unit {
          case .product(let product):
            product.run(pointers[first], pointers[first + 1], pointers[first + 2], count)
          case .kernel(let function, let inputCount, let scratch):
            let call = KernelCall(
              arguments: UnsafePointer(pointers + first), inputCount: inputCount,
              scratch: memory.local + scratch, pool: pool, objects: objects, objectBase: 0)
            try function(call)
          case .program(let code, let registers):
            code.run(
              rows: 0, count, bases: UnsafePointer(pointers + first),
              registers: memory.local + registers)
          }
        }
        if let live {
          for rows in program.stagedRows where rows.role == .result {
            scatter(rows, step, count, live, memory)
          }
        }
      }
    }
    if let live { fill(live, memory) }
  }

  @inline(__always)
  private func address(
    _ address: LoopProgram.Address, _ step: Int, _ program: LoopProgram, _ memory: Memory
  ) -> UnsafeMutableRawPointer {
    if let staged = address.staged { return memory.local + program.stagedRows[staged].offset }
    var at = step + address.shift
    if !address.valid.contains(at) || at >= steps {
      if let staged = address.stagedBoundary {
        return memory.local + program.stagedRows[staged].offset
      }
      if let boundary = address.boundary {
        return memory.arguments[boundary.argument] + memory.firstRow * boundary.rowBytes
      }
      // What no step needs: any step's value does.
      at = Swift.min(Swift.max(at, 0), steps - 1)
    }
    let start = (address.alternates ? at & 1 : at) * address.stride + address.offset
    switch address.base {
    case .argument(let index):
      return memory.arguments[index] + (start + memory.firstRow * address.rowBytes)
    case .local: return memory.local + start
    case .shared: return memory.panels + start
    }
  }

  // MARK: - Live rows

  // Puts the live rows of an operand side by side. What lies beyond a row's end is zero.
  private func gather(
    _ rows: LoopProgram.StagedRows, _ step: Int, _ count: Int,
    _ live: Live, _ memory: Memory
  ) {
    guard case .argument(let argument) = rows.address.base else { return }
    let address = rows.address
    let (at, bytes) = (step + address.shift, address.rowBytes)
    let isInside = address.valid.contains(at) && at < steps
    if rows.role == .boundary && isInside { return }
    let target = memory.local + rows.offset
    if rows.role == .operand && !isInside {
      for j in 0..<count {
        if let boundary = address.boundary {
          (target + j * bytes).copyMemory(
            from: memory.arguments[boundary.argument] + live.row(j) * boundary.rowBytes,
            byteCount: bytes)
        } else {
          (target + j * bytes).initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        }
      }
      return
    }
    let source = memory.arguments[argument] + (rows.role == .boundary ? 0 : at * address.stride)
    for j in 0..<count {
      if address.shift > 0 && at >= live.length(j) && rows.role == .operand {
        (target + j * bytes).initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
      } else {
        (target + j * bytes).copyMemory(from: source + live.row(j) * bytes, byteCount: bytes)
      }
    }
  }

  private func scatter(
    _ rows: LoopProgram.StagedRows, _ step: Int, _ count: Int, _ live: Live, _ memory: Memory
  ) {
    guard case .argument(let argument) = rows.address.base else { return }
    let bytes = rows.address.rowBytes
    let target = memory.arguments[argument] + step * rows.address.stride
    for j in 0..<count {
      (target + live.row(j) * bytes).copyMemory(
        from: memory.local + rows.offset + j * bytes, byteCount: bytes)
    }
  }

  // Zeros in the steps that were left out.
  private func fill(_ live: Live, _ memory: Memory) {
    for (argument, rowBytes, stepBytes) in filled {
      for j in 0..<live.size {
        for step in live.length(j)..<max(live.length(j), steps) {
          (memory.arguments[argument] + (step * stepBytes + live.row(j) * rowBytes))
            .initializeMemory(as: UInt8.self, repeating: 0, count: rowBytes)
        }
      }
    }
  }
}
