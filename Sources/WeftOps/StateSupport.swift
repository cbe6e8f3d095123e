// What the rows of variables, optimizers and random ops share.

internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Makes the run errors of one op without keeping its whole context alive.
struct OpFailure: Sendable {
  let op: String
  func callAsFunction(_ message: String) -> WeftError {
    WeftError(.invalidArgument, "\(op) \(message)", category: .run)
  }
}

extension InferContext {
  /// The shape of the variable behind the handle or reference at input `index`.
  func variableShape(_ index: Int) -> Shape {
    if let handle = handle(index) { return handle.shape }
    return inputs[index].isReference ? shape(index) : .unknown
  }

  /// Checks that the variable at input `index` has elements of `dtype`.
  func checkVariable(_ index: Int, _ dtype: DType) throws {
    // Outputs of ops that are not known have no type.
    if let handle = handle(index), handle.dtype != dtype, handle.dtype != .invalid,
      dtype != .invalid
    {
      throw error("expects a \(dtype.name) variable, its handle is of \(handle.dtype.name)")
    }
  }

  /// The variable's shape, which a value of shape `value` must fit.
  func variableShape(_ index: Int, fitting value: Shape) throws -> Shape {
    let own = variableShape(index)
    guard let merged = own.merged(with: value) else {
      throw error("cannot give a variable of shape \(own) a value of shape \(value)")
    }
    return merged
  }

  /// An input that must be a scalar.
  func checkScalar(_ index: Int) throws {
    if let rank = shape(index).rank, rank != 0 {
      let names = op.signature.inputs
      let name = names.indices.contains(index) ? names[index].name : "input \(index)"
      throw error("needs a scalar '\(name)', got shape \(shape(index))")
    }
  }
}

extension LowerContext {
  /// Errors of this op's run.
  var failure: OpFailure { OpFailure(op: op.name) }
}

extension VariableCell {
  /// The value, which must have exactly this shape.
  func read(shape: [Int], _ failure: OpFailure) throws -> Tensor {
    let tensor = try read()
    guard tensor.shape == shape else {
      throw failure("needs variable \(name) of shape \(shape), it has \(tensor.shape)")
    }
    return tensor
  }
}

/// Index `i` of an indices tensor as text: `indices[1, 2]`.
func indexPosition(_ flat: Int, shape: [Int], name: String = "indices") -> String {
  if shape.isEmpty { return name }
  var left = flat
  var parts: [Int] = []
  for n in shape.reversed() {
    parts.append(n > 0 ? left % n : 0)
    left = n > 0 ? left / n : 0
  }
  return "\(name)[\(parts.reversed().map { String($0) }.joined(separator: ", "))]"
}

extension IndexList {
  /// Throws when an index is outside `0 ..< bound`.
  func check(_ bound: Int, shape: [Int], _ failure: OpFailure) throws {
    if let i = firstOutside(bound) {
      throw failure("\(indexPosition(i, shape: shape)) = \(self[i]) is not in [0, \(bound))")
    }
  }
}
