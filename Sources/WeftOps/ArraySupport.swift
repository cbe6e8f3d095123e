// What the array families share: axes, known integers, and kernels that only move elements.

internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

extension InferContext {
  /// `axis` counted from the front, checked against `rank`.
  func axisIndex(_ axis: Int, rank: Int, _ what: String = "axis") throws -> Int {
    let index = axis < 0 ? axis + rank : axis
    guard index >= 0, index < rank else {
      throw error("\(what) = \(axis) is not in [\(-rank), \(rank))")
    }
    return index
  }

  /// The only integer of input `index`, if it is known.
  func oneInteger(_ index: Int, _ what: String) throws -> Int? {
    if let count = shape(index).count, count != 1 {
      throw error("needs \(what) of one element, got shape \(shape(index))")
    }
    return integers(index)?.first
  }

  /// The sizes that the vector at input `index` holds, as far as known; nil for unknown rank.
  func sizes(_ index: Int, _ what: String) throws -> [Dim]? {
    let dims = try shape(index, rank: 1)
    if let values = value(index) {
      for case .known(let n) in values where n < 0 {
        throw error("\(what) must not be negative, got \(Shape(dims: values))")
      }
      return values
    }
    return try unknownShape(ofRank: dims[0], what).dims
  }

  /// A shape of unknown sizes, as many as `length` says, which is that of `what`.
  func unknownShape(ofRank length: Dim, _ what: String) throws -> Shape {
    guard let rank = length.size else { return .unknown }
    guard rank <= Shape.rankLimit else {
      throw error("\(what) has \(rank) entries, at most \(Shape.rankLimit) are possible")
    }
    return Shape(unknownOfRank: rank)
  }

  /// The known integers of a vector or scalar at input `index`, for value rules.
  func smallValue(_ index: Int = 0) -> [Dim]? {
    guard let rank = shape(index).rank, rank <= 1 else { return nil }
    return value(index)
  }
}

extension LowerContext {
  /// The integers of input `index`, which decide this lowering.
  func integers(_ index: Int, _ what: String) throws -> [Int] {
    guard let all = tensor(index)?.integers else {
      throw error("needs to know \(what) before it runs")
    }
    return all
  }

  /// The axis that input `index` holds, counted from the front.
  func axis(_ index: Int, rank: Int) throws -> Int {
    guard let axis = try integers(index, "its axis").first else {
      throw error("needs an axis, got none")
    }
    return try checkedAxis(axis, rank: rank)
  }

  /// `axis` counted from the front, checked against `rank`.
  func checkedAxis(_ axis: Int, rank: Int) throws -> Int {
    let result = axis < 0 ? axis + rank : axis
    guard result >= 0, result < rank else {
      throw error("axis = \(axis) is not in [\(-rank), \(rank))")
    }
    return result
  }

  /// Output 0 is input `index`: no bytes move, unless they are a variable's own.
  func pass(_ index: Int = 0) -> Kernel {
    let input = inputs[index]
    guard input.isReference, input.dtype.isPlain else { return .alias(index) }
    let bytes = count(index) * input.dtype.byteSize
    return Kernel(kernelName("copy", input.dtype)) { call in
      call.rawOutput(0).copyMemory(from: call.rawInput(index), byteCount: bytes)
    }
  }

  /// A kernel name such as `concatFloat32`.
  func kernelName(_ base: String, _ dtype: DType) -> String {
    base + dtype.name.prefix(1).uppercased() + dtype.name.dropFirst()
  }

  /// A kernel that only moves elements, plain ones or strings, as `make` says for elements of a
  /// given size. Where no move reaches, plain outputs keep the bytes of `fill`, or stay unset.
  func moves(
    _ name: String, zeroed: Bool = false, _ make: (_ elementBytes: Int) -> [Move]
  ) throws -> Kernel {
    guard let dtype = outputs.first?.dtype else { return .nothing }
    if dtype == .string { return stringMoves(name, make(8)) }
    guard dtype.isPlain else { throw unsupported(dtype) }
    let all = make(dtype.byteSize)
    let label = kernelName(name, dtype)
    let zeroBytes = zeroed ? outputs.indices.map { outputCount($0) * dtype.byteSize } : []
    let pieces = zeroed ? nil : pieces(all, elementBytes: dtype.byteSize)
    if all.count == 1, !zeroed {
      let only = all[0]
      var kernel = Kernel(label) { call in
        only.copy.run(call.rawInput(only.input), call.rawOutput(only.output), call.pool)
      }
      kernel.pieces = pieces
      return kernel
    }
    var kernel = Kernel(label) { call in
      for (index, bytes) in zeroBytes.enumerated() {
        call.rawOutput(index).initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
      }
      for move in all {
        move.copy.run(call.rawInput(move.input), call.rawOutput(move.output), call.pool)
      }
    }
    kernel.pieces = pieces
    return kernel
  }

  // Where each output lies in the one input, when all moves copy what lies together.
  private func pieces(_ all: [Move], elementBytes: Int) -> (input: Int, offsets: [Int])? {
    guard let input = all.first?.input, all.count == outputs.count else { return nil }
    var offsets: [Int] = []
    for (index, move) in all.enumerated() {
      guard move.input == input, move.output == index, let piece = move.copy.piece,
        piece.bytes == outputCount(index) * elementBytes
      else { return nil }
      offsets.append(piece.offset)
    }
    return (input, offsets)
  }

  // Strings move by number: the moves are run once on positions, then each call follows those.
  private func stringMoves(_ name: String, _ all: [Move]) -> Kernel {
    var starts: [Int] = []
    var total = 0
    for index in inputs.indices {
      starts.append(total)
      total += inputs[index].dtype == .string ? count(index) : 0
    }
    let pool = ThreadPool(width: 1)
    var positions = outputs.indices.map { [Int](repeating: -1, count: outputCount($0)) }
    for move in all {
      let first = starts[move.input]
      let numbers = Array(first..<first + count(move.input))
      numbers.withUnsafeBytes { from in
        positions[move.output].withUnsafeMutableBytes { to in
          if let source = from.baseAddress, let target = to.baseAddress {
            move.copy.run(source, target, pool)
          }
        }
      }
    }
    let table = positions
    let shapes = outputs.indices.map { outputShape($0) }
    let sources = inputs.indices.filter { inputs[$0].dtype == .string }
    return Kernel(kernelName(name, .string)) { call in
      var strings: [[UInt8]] = []
      for index in sources { strings += try stringInput(call, index).strings }
      for (output, places) in table.enumerated() {
        let moved = places.map { $0 >= 0 && $0 < strings.count ? strings[$0] : [] }
        call.setObject(try Tensor(strings: moved, shape: shapes[output]), output: output)
      }
    }
  }
}

/// The string tensor at input `index` of a call.
func stringInput(_ call: borrowing KernelCall, _ index: Int) throws(WeftError) -> Tensor {
  guard let tensor = call.objectInput(index) as? Tensor else {
    throw WeftError(.internal, "input \(index) has no string value", category: .run)
  }
  return tensor
}

/// One copy from an input to an output.
struct Move: Sendable {
  enum Copy: Sendable {
    case rows(RowCopy)
    case box(StridedCopy)

    var piece: (offset: Int, bytes: Int)? {
      switch self {
      case .rows(let copy): copy.piece
      case .box(let copy): copy.piece
      }
    }

    func run(
      _ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ pool: ThreadPool
    ) {
      switch self {
      case .rows(let copy): copy.run(source, target, pool)
      case .box(let copy): copy.run(source, target, pool)
      }
    }
  }
  var input = 0
  var output = 0
  var copy: Copy

  /// Rows of bytes.
  static func rows(input: Int = 0, output: Int = 0, _ copy: RowCopy) -> Move {
    Move(input: input, output: output, copy: .rows(copy))
  }
  /// A strided box.
  static func box(input: Int = 0, output: Int = 0, _ copy: StridedCopy) -> Move {
    Move(input: input, output: output, copy: .box(copy))
  }
}

/// The product of sizes that are known not to overflow, because a tensor has them.
func product(_ sizes: some Sequence<Int>) -> Int { sizes.reduce(1, *) }
