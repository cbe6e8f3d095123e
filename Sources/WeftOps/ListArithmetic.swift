// Sums and zeros of lists, which gradients of lists need.

internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

enum ListArithmetic {
  /// A list of zeros like those of the list at input 0.
  static func zeros(_ ctx: LowerContext) -> Kernel {
    let failure = ctx.failure
    return Kernel("zerosList") { call in
      guard let list = call.objectInput(0) as? ListValue else { throw failure("needs a list") }
      call.setObject(try zeros(list), output: 0)
    }.storing(.copying(0))
  }

  private static func zeros(_ list: ListValue) throws -> ListValue {
    // Elements of one shape after the other share their zeros.
    var last: Tensor?
    let elements = try list.elements.map { element -> (any Sendable)? in
      if let tensor = element as? Tensor {
        if let last, last.shape == tensor.shape { return last }
        let fresh = try Tensor.zeros(tensor.dtype, tensor.shape)
        last = fresh
        return fresh
      }
      if let inner = element as? ListValue { return try zeros(inner) }
      return nil
    }
    return ListValue(list.dtype, list.elementShape, elements: elements)
  }

  /// The sum of the lists at all inputs, element by element.
  static func sum(_ ctx: LowerContext) -> Kernel {
    let failure = ctx.failure
    let count = ctx.inputs.count
    return Kernel("addLists") { call in
      var lists: [ListValue] = []
      for index in 0..<count {
        guard let list = call.objectInput(index) as? ListValue else {
          throw failure("needs lists")
        }
        lists.append(list)
      }
      let first = lists[0]
      call.setObject(
        try lists.dropFirst().reduce(first) { try add($0, $1, call.pool, failure) }, output: 0)
    }.storing(.summing)
  }

  private static func add(
    _ a: ListValue, _ b: ListValue, _ pool: ThreadPool, _ failure: OpFailure
  ) throws -> ListValue {
    // A list that was never filled adds nothing.
    if a.count == 0 { return b }
    if b.count == 0 { return a }
    guard a.count == b.count, a.dtype == b.dtype else {
      throw failure(
        "cannot add lists of \(a.count) \(a.dtype.name) and \(b.count) \(b.dtype.name)")
    }
    let sums = try (0..<a.count).map { index -> (any Sendable)? in
      switch (a[index], b[index]) {
      case (nil, let y): return y
      case (let x, nil): return x
      case (let x as Tensor, let y as Tensor): return try add(x, y, pool, failure)
      case (let x as ListValue, let y as ListValue): return try add(x, y, pool, failure)
      default: throw failure("cannot add element \(index)")
      }
    }
    let shape = a.elementShape.merged(with: b.elementShape) ?? .unknown
    return ListValue(a.dtype, shape, elements: sums)
  }

  /// The sum of two tensors of one type and shape.
  static func add(
    _ x: Tensor, _ y: Tensor, _ pool: ThreadPool, _ failure: OpFailure
  ) throws -> Tensor {
    guard x.dtype == y.dtype, x.shape == y.shape else {
      throw failure("cannot add \(x.type) and \(y.type)")
    }
    guard let add = BinaryFunction.add.row(x.dtype) else {
      throw failure("has no sum of \(x.dtype.name)")
    }
    return try Tensor(dtype: x.dtype, shape: x.shape) { memory throws(WeftError) in
      guard let base = memory.baseAddress else { return }
      let arguments = [x.buffer.base, y.buffer.base]
      arguments.withUnsafeBufferPointer { list in
        guard let first = list.baseAddress else { return }
        addAll(
          first, inputCount: 2, base, count: x.count, elementBytes: x.dtype.byteSize, pool: pool,
          add: add)
      }
    }
  }
}
