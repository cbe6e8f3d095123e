// Running a rolled loop: chunks of rows side by side, each through all steps.

internal import Synchronization
internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

extension LoopBody {
  /// Names of the ops that rolled loops become, forward and backward.
  static let opNames = ["Loop", "LoopBackward"]
  var opName: String { Self.opNames[isReversed ? 1 : 0] }

  /// The kernel of the whole loop.
  func kernel() throws -> Kernel {
    let chunk = self.chunk
    let count = rows > 0 ? (rows + chunk - 1) / chunk : 1
    let whole = try LoopProgram(self, rows: chunk)
    let rest = rows - (count - 1) * chunk
    let tail = rows > 0 && rest != chunk ? try LoopProgram(self, rows: rest) : whole
    let local = max(whole.localBytes, tail.localBytes)
    let (perStep, overflow) = whole.flops.multipliedReportingOverflow(by: count - 1)
    let (bytes, tooMany) = local.multipliedReportingOverflow(by: count)
    let matrices = sharedMatrices()
    let shared = matrices.last.map { $0.offset + $0.bytes } ?? 0
    let (all, tooManyInAll) = bytes.addingReportingOverflow(shared)
    guard !overflow, !tooMany, !tooManyInAll else {
      throw WeftError(.resourceExhausted, "a loop's memory is too large")
    }
    let flops = (perStep &+ tail.flops).multipliedReportingOverflow(by: steps)
    let products = (whole.productFlops * (count - 1) &+ tail.productFlops)
      .multipliedReportingOverflow(by: steps)
    let run = LoopRun(body: self)
    let packs = matrices.compactMap { entry in
      entry.matrix.product(rows: chunk).map { (entry.matrix.input, entry.offset, $0.pack) }
    }
    var kernel = Kernel(
      isReversed ? "loopBackward" : "loop", scratchBytes: all,
      flops: flops.overflow ? .max : flops.partialValue
    ) { call in
      let (panels, base) = (call.scratch, call.scratch + shared)
      let (arguments, pool, objects) = (call.arguments, call.pool, call.objects)
      pool.parallel(packs.count) { index in
        let (input, offset, pack) = packs[index]
        pack(arguments[input], panels + offset)
      }
      let failure = Mutex<(chunk: Int, error: any Error)?>(nil)
      pool.parallel(count) { index in
        do {
          try run.chunk(
            index == count - 1 ? tail : whole, firstRow: index * chunk, arguments: arguments,
            panels: panels, local: base + index * local, pool: pool, objects: objects)
        } catch {
          failure.withLock { if index < ($0?.chunk ?? .max) { $0 = (index, error) } }
        }
      }
      if let failed = failure.withLock({ $0?.error }) { throw failed }
    }
    kernel.productFlops = products.overflow ? .max : products.partialValue
    let lines =
      ["\(steps) steps of \(count) chunks of \(chunk) rows"] + whole.summary
    kernel.details = { lines }
    return kernel
  }
}

private struct LoopRun: Sendable {
  let steps: Int
  let isReversed: Bool

  init(body: LoopBody) {
    steps = body.steps
    isReversed = body.isReversed
  }

  func chunk(
    _ program: LoopProgram, firstRow: Int,
    arguments: UnsafePointer<UnsafeMutableRawPointer>, panels: UnsafeMutableRawPointer,
    local: UnsafeMutableRawPointer, pool: ThreadPool, objects: RunObjects
  ) throws {
    try withUnsafeTemporaryAllocation(
      of: UnsafeMutableRawPointer.self, capacity: program.addresses.count + 1
    ) { buffer in
      guard let pointers = buffer.baseAddress else { return }
      for index in 0..<steps {
        let step = isReversed ? steps - 1 - index : index
        for (place, address) in program.addresses.enumerated() {
          (pointers + place).initialize(
            to: self.address(address, step, firstRow, arguments, panels, local))
        }
        for (unit, first) in program.units {
          switch unit {
          case .kernel(let function, let inputCount, let scratch):
            let call = KernelCall(
              arguments: UnsafePointer(pointers + first), inputCount: inputCount,
              scratch: local + scratch, pool: pool, objects: objects, objectBase: 0)
            try function(call)
          case .program(let code, let registers):
            code.run(
              rows: 0, program.rows, bases: UnsafePointer(pointers + first),
              registers: local + registers)
          }
        }
      }
    }
  }

  @inline(__always)
  private func address(
    _ address: LoopProgram.Address, _ step: Int, _ firstRow: Int,
    _ arguments: UnsafePointer<UnsafeMutableRawPointer>, _ panels: UnsafeMutableRawPointer,
    _ local: UnsafeMutableRawPointer
  ) -> UnsafeMutableRawPointer {
    var at = step + address.shift
    if !address.valid.contains(at) || at >= steps {
      if let boundary = address.boundary {
        return arguments[boundary.argument] + firstRow * boundary.rowBytes
      }
      // What no step needs: any step's value does.
      at = Swift.min(Swift.max(at, 0), steps - 1)
    }
    let start = (address.alternates ? at & 1 : at) * address.stride + address.offset
    switch address.base {
    case .argument(let index): return arguments[index] + (start + firstRow * address.rowBytes)
    case .local: return local + start
    case .shared: return panels + start
    }
  }
}
