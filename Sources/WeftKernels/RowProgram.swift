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
  private var blockRows: Int { max(1, min(16, 16_384 / max(1, registerBytes))) }

  /// Bytes that `run` needs for registers.
  package var scratchBytes: Int { blockRows * registerBytes }

  /// Runs rows `lower ..< upper`; `bases` are the operands' first rows, and `registers` has room for
  /// `scratchBytes`.
  package func run(
    rows lower: Int, _ upper: Int, bases: UnsafePointer<UnsafeMutableRawPointer>,
    registers: UnsafeMutableRawPointer
  ) {
    // The address of a block's first row, and the bytes from row to row.
    struct Rows {
      var first: UnsafeMutableRawPointer
      var stride: Int
      subscript(row: Int) -> UnsafeMutableRawPointer { first + row * stride }
    }
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
        let (out, n) = (rows(step.output), step.count)
        let a = (rows: rows(step.inputs[0].place), extent: step.inputs[0].extent)
        switch step.code {
        case .copy(let bytes):
          for row in 0..<count { out[row].copyMemory(from: a.rows[row], byteCount: bytes * n) }
        case .loop(.unary(let loop)):
          for row in 0..<count { loop(a.rows[row], out[row], n) }
        case .loop(.binary(let loop)):
          let b = (rows: rows(step.inputs[1].place), extent: step.inputs[1].extent)
          let kind: RowKind =
            a.extent == b.extent ? .both : b.extent == .element ? .scalarRight : .scalarLeft
          for row in 0..<count { loop(a.rows[row], b.rows[row], out[row], n, kind) }
        case .loop(.ternary(let loop)):
          let b = (rows: rows(step.inputs[1].place), extent: step.inputs[1].extent)
          let c = (rows: rows(step.inputs[2].place), extent: step.inputs[2].extent)
          let (stepA, stepB) = (a.extent == .row ? 1 : 0, b.extent == .row ? 1 : 0)
          let stepC = c.extent == .row ? 1 : 0
          for row in 0..<count {
            loop(a.rows[row], stepA, b.rows[row], stepB, c.rows[row], stepC, out[row], n)
          }
        }
      }
      start += count
    }
  }
}
