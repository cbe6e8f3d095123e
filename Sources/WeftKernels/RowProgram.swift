// Several elementwise operations as one: each row goes through all of them while it is in cache.

package import WeftTensors

/// A straight-line program of elementwise loops over rows.
///
/// A block of rows goes through one instruction after the other. Values between instructions live
/// in registers, one set for each row of the block; operands are read and results written
/// in place, at column offsets of their own, so that splitting and joining columns costs nothing.
/// Every element goes through the same loops as without the program: the bits are the same.
package struct RowProgram: Sendable {
  /// A place of one row's values.
  package enum Place: Sendable, Hashable {
    /// Bytes from the start of the row's registers.
    case register(Int)
    /// Bytes from the start of an operand's row.
    case operand(Int, offset: Int)
  }

  /// How a value stands beside others of a row.
  package enum Extent: Sendable, Hashable {
    /// One element for each column.
    case row
    /// One element for all columns.
    case element
  }

  /// One loop over some columns of a row.
  package struct Instruction: Sendable {
    package enum Code: Sendable {
      case loop(ElementwiseLoop)
      /// Copies bytes.
      case copy(elementBytes: Int)
    }
    package var code: Code
    package var inputs: [(place: Place, extent: Extent)]
    package var output: Place
    package var count: Int

    package init(
      code: Code, inputs: [(place: Place, extent: Extent)], output: Place, count: Int
    ) {
      self.code = code
      self.inputs = inputs
      self.output = output
      self.count = count
    }
  }

  /// The instructions, in order.
  package var instructions: [Instruction]
  /// For each operand, bytes from one row to the next; 0 when all rows share one.
  package var rowStrides: [Int]
  /// Bytes of one row's registers.
  package var registerBytes: Int

  package init(instructions: [Instruction], rowStrides: [Int], registerBytes: Int) {
    self.instructions = instructions
    self.rowStrides = rowStrides
    self.registerBytes = registerBytes
  }

  /// Rows that go through an instruction before the next one: enough to make little of what an
  /// instruction costs beside its loop, few enough for their registers to stay in cache.
  private var blockRows: Int { max(1, min(64, 32_768 / max(1, registerBytes))) }

  /// Bytes that `run` needs for registers.
  package var scratchBytes: Int { blockRows * registerBytes }

  /// Runs rows `lower ..< upper`; `bases` are the operands' first rows, and `registers` has room for
  /// `scratchBytes`.
  package func run(
    rows lower: Int, _ upper: Int, bases: UnsafePointer<UnsafeMutableRawPointer>,
    registers: UnsafeMutableRawPointer
  ) {
    let blockRows = blockRows
    var start = lower
    while start < upper {
      let count = min(blockRows, upper - start)
      func rows(_ place: Place) -> Rows {
        switch place {
        case .register(let offset): Rows(first: registers + offset, stride: registerBytes)
        case .operand(let index, let offset):
          Rows(
            first: bases[index] + (start * rowStrides[index] + offset), stride: rowStrides[index])
        }
      }
      for step in instructions {
        let (inputs, out, n) = (step.inputs, rows(step.output), step.count)
        let (a, extentA) = (rows(inputs[0].place), inputs[0].extent)
        switch step.code {
        case .copy(let bytes):
          for row in 0..<count { out[row].copyMemory(from: a[row], byteCount: bytes * n) }
        case .loop(.unary(let loop)): each(count, a, out, n, loop)
        case .loop(.binary(let loop)):
          let (b, extentB) = (rows(inputs[1].place), inputs[1].extent)
          let kind: RowKind =
            extentA == extentB ? .both : extentB == .element ? .scalarRight : .scalarLeft
          each(count, a, b, out, n, kind, loop)
        case .loop(.ternary(let loop)):
          let (b, extentB) = (rows(inputs[1].place), inputs[1].extent)
          let (c, extentC) = (rows(inputs[2].place), inputs[2].extent)
          each(
            count, a, extentA == .row ? 1 : 0, b, extentB == .row ? 1 : 0, c,
            extentC == .row ? 1 : 0, out, n, loop)
        }
      }
      start += count
    }
  }
}

/// The address of a block's first row, and the bytes from row to row.
private struct Rows {
  var first: UnsafeMutableRawPointer
  var stride: Int
  subscript(row: Int) -> UnsafeMutableRawPointer { first + row * stride }
}

// Functions of their own: a loop they are given is not retained for each call, which threads would
// contend for.

@inline(never)
private func each(_ count: Int, _ a: Rows, _ out: Rows, _ n: Int, _ loop: UnaryRow) {
  for row in 0..<count { loop(a[row], out[row], n) }
}

@inline(never)
private func each(
  _ count: Int, _ a: Rows, _ b: Rows, _ out: Rows, _ n: Int, _ kind: RowKind, _ loop: BinaryRow
) {
  for row in 0..<count { loop(a[row], b[row], out[row], n, kind) }
}

@inline(never)
private func each(
  _ count: Int, _ a: Rows, _ stepA: Int, _ b: Rows, _ stepB: Int, _ c: Rows, _ stepC: Int,
  _ out: Rows, _ n: Int, _ loop: TernaryRow
) {
  for row in 0..<count { loop(a[row], stepA, b[row], stepB, c[row], stepC, out[row], n) }
}
