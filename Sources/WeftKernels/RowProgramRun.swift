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

  // The pieces that all rows are shared out in, each with registers of its own: no more than threads
  // gain by, as the memory is the run's.
  private func pieces(rows: Int, columns: Int) -> Int {
    let grain = max(1, elementwiseGrain / max(1, columns * instructions.count / 2))
    return max(1, min(16, rows / grain))
  }

  /// Bytes of scratch memory, aligned to 64 bytes, that `runAll` needs.
  package func scratchBytes(rows: Int, columns: Int, tail: RowProgram?) -> Int {
    let each = (max(scratchBytes, tail?.scratchBytes ?? 0) + 63) & ~63
    return pieces(rows: rows, columns: columns) * each
  }

  /// Runs all rows on the pool's threads, then `tail` on what is left of the last row.
  package func runAll(
    rows: Int, bases: UnsafePointer<UnsafeMutableRawPointer>, columns: Int, tail: RowProgram?,
    scratch: UnsafeMutableRawPointer, pool: ThreadPool
  ) {
    let pieces = pieces(rows: rows, columns: columns)
    let each = scratchBytes(rows: rows, columns: columns, tail: tail) / pieces
    pool.parallel(pieces) { piece in
      run(
        rows: piece * rows / pieces, (piece + 1) * rows / pieces, bases: bases,
        registers: scratch + piece * each)
    }
    guard let tail else { return }
    withUnsafeTemporaryAllocation(
      of: UnsafeMutableRawPointer.self, capacity: rowStrides.count + 1
    ) { ends in
      guard let first = ends.baseAddress else { return }
      for (index, stride) in rowStrides.enumerated() {
        (first + index).initialize(to: bases[index] + rows * stride)
      }
      tail.run(rows: 0, 1, bases: UnsafePointer(first), registers: scratch)
    }
  }
}
