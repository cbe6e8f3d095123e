// Several elementwise operations as one: each row goes through all of them while it is in cache.

package import WeftTensors

/// A straight-line program of elementwise loops over rows.
///
/// Values between instructions live in registers of one row; operands are read and results written
/// in place, at column offsets of their own, so that splitting and joining columns costs nothing.
/// Every element goes through the same loops as without the program: the bits are the same.
package struct RowProgram: Sendable {
  /// A place of one row's values.
  package enum Place: Sendable, Hashable {
    /// Bytes from the start of the registers.
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
  /// Bytes of registers.
  package var registerBytes: Int

  package init(instructions: [Instruction], rowStrides: [Int], registerBytes: Int) {
    self.instructions = instructions
    self.rowStrides = rowStrides
    self.registerBytes = registerBytes
  }

  /// Runs rows `lower ..< upper`; `bases` are the operands' first rows.
  package func run(
    rows lower: Int, _ upper: Int, bases: UnsafePointer<UnsafeMutableRawPointer>,
    registers: UnsafeMutableRawPointer
  ) {
    for row in lower..<upper {
      @inline(__always)
      func address(_ place: Place) -> UnsafeMutableRawPointer {
        switch place {
        case .register(let offset): registers + offset
        case .operand(let index, let offset): bases[index] + (row * rowStrides[index] + offset)
        }
      }
      for step in instructions {
        let a = step.inputs[0]
        let out = address(step.output)
        switch step.code {
        case .copy(let bytes):
          out.copyMemory(from: address(a.place), byteCount: bytes * step.count)
        case .loop(.unary(let loop)): loop(address(a.place), out, step.count)
        case .loop(.binary(let loop)):
          let b = step.inputs[1]
          let kind: RowKind =
            a.extent == b.extent ? .both : b.extent == .element ? .scalarRight : .scalarLeft
          loop(address(a.place), address(b.place), out, step.count, kind)
        case .loop(.ternary(let loop)):
          let (b, c) = (step.inputs[1], step.inputs[2])
          loop(
            address(a.place), a.extent == .row ? 1 : 0, address(b.place),
            b.extent == .row ? 1 : 0, address(c.place), c.extent == .row ? 1 : 0, out, step.count)
        }
      }
    }
  }
}
