// Running a row program over a whole value, and what it may write over.

package import WeftTensors

extension RowProgram {
  /// Whether an operand may have the memory of another that is written: all reads of `operand` come
  /// before, or in the very loop of, the first write of `result`.
  package func mayOverwrite(operand: Int, with result: Int) -> Bool {
    var lastRead = -1
    var firstWrite = Int.max
    for (index, step) in instructions.enumerated() {
      for input in step.inputs {
        if case .operand(operand, _) = input.place { lastRead = index }
      }
      if case .operand(result, _) = step.output { firstWrite = min(firstWrite, index) }
    }
    return lastRead <= firstWrite
  }

  /// Runs all rows on the pool's threads, then `tail` on what is left of the last row.
  package func runAll(
    rows: Int, bases: UnsafePointer<UnsafeMutableRawPointer>, columns: Int, tail: RowProgram?,
    pool: ThreadPool
  ) {
    let alignment = 64
    func withRegisters(_ bytes: Int, _ body: (UnsafeMutableRawPointer) -> Void) {
      withUnsafeTemporaryAllocation(byteCount: max(alignment, bytes), alignment: alignment) {
        if let base = $0.baseAddress { body(base) }
      }
    }
    pool.split(rows, grain: max(1, elementwiseGrain / max(1, columns * instructions.count / 2))) {
      lower, upper in
      withRegisters(scratchBytes) { run(rows: lower, upper, bases: bases, registers: $0) }
    }
    guard let tail else { return }
    withUnsafeTemporaryAllocation(
      of: UnsafeMutableRawPointer.self, capacity: rowStrides.count + 1
    ) { ends in
      guard let first = ends.baseAddress else { return }
      for (index, stride) in rowStrides.enumerated() {
        (first + index).initialize(to: bases[index] + rows * stride)
      }
      withRegisters(tail.scratchBytes) {
        tail.run(rows: 0, 1, bases: UnsafePointer(first), registers: $0)
      }
    }
  }
}
