// Running a rolled loop: chunks of rows side by side, each through all steps.

internal import Synchronization
internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

extension LoopBody {
  /// Names of the ops that rolled loops become, forward and backward.
  static let opNames = ["Loop", "LoopBackward"]
  var opName: String { Self.opNames[isReversed ? 1 : 0] }

  /// The row of a node that runs the whole loop.
  func definition(_ kernel: Kernel) -> OpDef {
    let results = values.count { $0.result != nil }
    return OpDef.fused(
      opName, inputs: inputTypes.indices.map { "x\($0)" } + (lengths == nil ? [] : ["lengths"]),
      outputs: (0..<results).map { "y\($0)" },
      summary: "The steps of a recurrence, one after the other."
    ) { _ in kernel }
  }

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
    let run = LoopRun(body: self, chunks: count)
    let packs = matrices.compactMap { entry in
      entry.matrix.product.map { (entry.matrix.input, entry.offset, $0.pack) }
    }
    var kernel = Kernel(
      isReversed ? "loopBackward" : "loop", scratchBytes: all + run.orderBytes,
      flops: flops.overflow ? .max : flops.partialValue
    ) { call in
      let (panels, base) = (call.scratch, call.scratch + shared)
      let (arguments, pool, objects) = (call.arguments, call.pool, call.objects)
      let live = run.order(arguments, base + bytes)
      pool.parallel(packs.count) { index in
        let (input, offset, pack) = packs[index]
        pack(arguments[input], panels + offset)
      }
      let failure = Mutex<(chunk: Int, error: any Error)?>(nil)
      pool.parallel(count) { index in
        do {
          try run.chunk(
            // Chunks of live rows differ by one row: those that there are say how many.
            live == nil && index == count - 1 ? tail : whole, index,
            LoopRun.Memory(
              arguments: arguments, panels: panels, local: base + index * local,
              firstRow: index * chunk),
            live, pool: pool, objects: objects)
        } catch {
          failure.withLock { if index < ($0?.chunk ?? .max) { $0 = (index, error) } }
        }
      }
      if let failed = failure.withLock({ $0?.error }) { throw failed }
    }
    kernel.productFlops = products.overflow ? .max : products.partialValue
    let lines =
      ["\(steps) steps of \(count) chunks of \(chunk) rows"]
      + (lengths == nil ? [] : ["each row as long as it counts"]) + whole.summary
    kernel.details = { lines }
    return kernel
  }
}
