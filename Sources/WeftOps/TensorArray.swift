// TensorFlow 1's tensor arrays. A handle names the array; the float `flow` orders what uses it.

internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// Reads the array that a kernel is given.
struct ArraySource: Sendable {
  let failure: OpFailure
  init(_ ctx: LowerContext) { failure = ctx.failure }

  func read(_ call: borrowing KernelCall) throws -> ArrayValue {
    guard let array = call.objectInput(0) as? ArrayValue else {
      throw failure("needs a TensorArray, its handle is none")
    }
    return array
  }
}

enum TensorArrayRows {
  private static func setFlow(_ call: borrowing KernelCall, _ output: Int = 0) {
    call.output(output, as: Float.self)[0] = 0
  }

  /// TensorFlow gives the handles of arrays and stacks this shape, whatever they hold.
  static let handleShape: Shape = [2]

  static let make = OpDef(
    "TensorArrayV3", "size: int32 -> handle: resource, flow: float",
    "dtype: type; element_shape: shape = <unknown>; dynamic_size: bool = false; "
      + "clear_after_read: bool = true; identical_element_shapes: bool = false; "
      + "tensor_array_name: string = ''",
    summary: "A new array of size elements, none of them written.",
    traits: [.stateful, .makesObject],
    infer: { ctx in
      try ctx.checkScalar(0)
      if let size = ctx.integers(0)?.first, size < 0 {
        throw ctx.error("cannot have a negative size: \(size)")
      }
      return [handleShape, .scalar]
    },
    handles: { ctx in
      [
        HandleType(
          try ctx.attrs.type("dtype"), try ctx.attrs.shape("element_shape"), isFresh: true), nil,
      ]
    },
    gradient: .zero,
    lowering: .kernel { ctx in
      let (dtype, shape) = (try ctx.attrs.type("dtype"), try ctx.attrs.shape("element_shape"))
      let (isDynamic, clears) = (
        try ctx.attrs.bool("dynamic_size"), try ctx.attrs.bool("clear_after_read")
      )
      let same = try ctx.attrs.bool("identical_element_shapes")
      let failure = ctx.failure
      return Kernel("makeArray") { call in
        let size = try TensorListRows.checked(Int(call.input(0, as: Int32.self)[0]), failure)
        call.setObject(
          ArrayValue(
            dtype: dtype, elementShape: shape, size: size, isDynamic: isDynamic,
            clearsAfterRead: clears, sameShapes: same), output: 0)
        setFlow(call, 1)
      }.storing(.making(0, places: isDynamic ? nil : ctx.storedPlaces(0)))
    })

  private static func gradient(
    _ name: String, _ arguments: String, prepends: Bool
  ) -> OpDef {
    OpDef(
      name, arguments, "source: string",
      summary: "The array of gradients that belongs to an array, one for each source.",
      traits: [.stateful, .makesObject], infer: { _ in [handleShape, .scalar] },
      handles: { ctx in prepends ? [nil, nil] : [ctx.handle(0), nil] },
      gradient: .zero,
      lowering: .kernel { ctx in
        let source = ArraySource(ctx)
        let key = try ctx.attrs.string("source")
        if prepends {
          let failure = ctx.failure
          return Kernel("arrayGradient") { _ in
            throw WeftError(
              .unimplemented, "\(failure.op) with a shape to prepend is not known", category: .run)
          }
        }
        return Kernel("arrayGradient") { call in
          call.setObject(try source.read(call).gradient(key), output: 0)
          setFlow(call, 1)
        }.storing(.passing(0))
      })
  }

  static let grad = gradient(
    "TensorArrayGradV3",
    "handle: resource, flow_in: float -> grad_handle: resource, flow_out: float", prepends: false)
  static let gradWithShape = gradient(
    "TensorArrayGradWithShape",
    "handle: resource, flow_in: float, shape_to_prepend: int32 -> "
      + "grad_handle: resource, flow_out: float", prepends: true)

  static let write = OpDef(
    "TensorArrayWriteV3",
    "handle: resource, index: int32, value: T, flow_in: float -> flow_out: float", "T: type",
    summary: "Writes the element at index.", traits: [.stateful],
    infer: { ctx in
      try ctx.checkScalar(1)
      return [.scalar]
    },
    refines: { ctx in ctx.handle(0).map { [0: $0.adding(ctx.shape(2))] } ?? [:] },
    gradient: .rule { g in try TensorArrayGradients.write(g) },
    lowering: .kernel { ctx in
      let source = ArraySource(ctx)
      let element = ElementSource(ctx, 2)
      return Kernel("writeArray") { call in
        let array = try source.read(call)
        guard let tensor = try element.read(call) as? Tensor else {
          throw source.failure("has no tensor to write")
        }
        try array.write(Int(call.input(1, as: Int32.self)[0]), tensor, call, source.failure)
        setFlow(call)
      }.storing(.adding(ctx.storedBytes(2), into: 0))
    })

  // The shape of an array's elements, where its handle or an attribute tells.
  static func elementShape(_ ctx: InferContext, _ attr: String? = nil) throws -> Shape {
    // An element that is read has been written, or is zeros of the shape that the array states.
    let own = ctx.handle(0)?.shape ?? .unknown
    guard let attr else { return own }
    return own.merged(with: try ctx.attrs.shape(attr)) ?? .unknown
  }

  static let read = OpDef(
    "TensorArrayReadV3", "handle: resource, index: int32, flow_in: float -> value: dtype",
    "dtype: type", summary: "The element at index.", traits: [.stateful],
    infer: { ctx in
      try ctx.checkScalar(1)
      return [try elementShape(ctx)]
    },
    gradient: .rule { g in try TensorArrayGradients.read(g) },
    lowering: .kernel { ctx in
      let source = ArraySource(ctx)
      let target = ElementTarget(ctx, 0)
      return Kernel("readArray") { call in
        let array = try source.read(call)
        try target.write(
          call, try array.read(Int(call.input(1, as: Int32.self)[0]), source.failure))
      }
    })

  static let gather = OpDef(
    "TensorArrayGatherV3", "handle: resource, indices: int32, flow_in: float -> value: dtype",
    "dtype: type; element_shape: shape = <unknown>",
    summary: "The elements at indices as the rows of one tensor.", traits: [.stateful],
    infer: { ctx in
      let rows = try ctx.shape(1, rank: 1)
      return [Shape(dims: rows).appending(try elementShape(ctx, "element_shape"))]
    },
    gradient: .rule { g in try TensorArrayGradients.gather(g) },
    lowering: .kernel { ctx in
      let source = ArraySource(ctx)
      let target = ElementTarget(ctx, 0)
      let count = ctx.count(1)
      let stated = try ctx.attrs.shape("element_shape")
      return Kernel("gatherArray") { call in
        let array = try source.read(call)
        let tensors = try call.integers(1, .int32, count: count).map {
          try array.read($0, stated: stated, source.failure)
        }
        let known = array.elementShape.merged(with: stated)?.known
        guard let shape = tensors.first?.shape ?? known else {
          throw source.failure("of no elements cannot know their shape \(array.elementShape)")
        }
        if let other = tensors.first(where: { $0.shape != shape }) {
          throw source.failure("cannot stack elements of shapes \(shape) and \(other.shape)")
        }
        try target.write(call, try Rows.stack(tensors, array.dtype, shape))
      }
    })

  static let scatter = OpDef(
    "TensorArrayScatterV3",
    "handle: resource, indices: int32, value: T, flow_in: float -> flow_out: float", "T: type",
    summary: "Writes the rows of a tensor to the elements at indices.", traits: [.stateful],
    infer: { _ in [.scalar] },
    refines: { ctx in
      guard let array = ctx.handle(0), let dims = ctx.shape(2).dims, !dims.isEmpty else {
        return [:]
      }
      return [0: array.adding(Shape(dims: Array(dims.dropFirst())))]
    },
    gradient: .rule { g in try TensorArrayGradients.scatter(g) },
    lowering: .kernel { ctx in
      let source = ArraySource(ctx)
      let element = ElementSource(ctx, 2)
      let count = ctx.count(1)
      guard ctx.shape(2).first == count else {
        throw ctx.error("needs a row for each of \(count) indices, got shape \(ctx.shape(2))")
      }
      let rows = Array(ctx.shape(2).dropFirst())
      return Kernel("scatterArray") { call in
        let array = try source.read(call)
        guard let tensor = try element.read(call) as? Tensor else {
          throw source.failure("has no tensor to write")
        }
        for (row, index) in call.integers(1, .int32, count: count).enumerated() {
          try array.write(
            index, try Rows.slice(tensor, first: row, count: 1, shape: rows), call,
            source.failure)
        }
        setFlow(call)
      }.storing(.adding(ctx.storedBytes(partsOf: 2, count: ctx.shape(2).first), into: 0))
    })

  static let concat = OpDef(
    "TensorArrayConcatV3", "handle: resource, flow_in: float -> value: dtype, lengths: int64",
    "dtype: type; element_shape_except0: shape = <unknown>",
    summary: "All elements one after the other, and how many rows each has.",
    traits: [.stateful],
    infer: { ctx in
      let rest = try ctx.attrs.shape("element_shape_except0")
      return [Shape(dims: [.unknown]).appending(rest), Shape(unknownOfRank: 1)]
    },
    gradient: .rule { g in try TensorArrayGradients.concat(g) },
    lowering: .kernel { ctx in
      let source = ArraySource(ctx)
      let (target, lengths) = (ElementTarget(ctx, 0), ElementTarget(ctx, 1))
      let stated = try ctx.attrs.shape("element_shape_except0")
      return Kernel("concatArray") { call in
        let array = try source.read(call)
        let tensors = try (0..<array.count).map { try array.read($0, source.failure) }
        let inner = tensors.first.map { Array($0.shape.dropFirst()) } ?? stated.known
        guard let inner, tensors.allSatisfy({ Array($0.shape.dropFirst()) == inner }),
          tensors.allSatisfy({ !$0.shape.isEmpty })
        else { throw source.failure("cannot join elements of different or unknown shapes") }
        let total = tensors.reduce(0) { $0 + $1.shape[0] }
        try target.write(call, try Rows.joined(tensors, array.dtype, [total] + inner))
        try lengths.write(call, try Tensor(tensors.map { Int64($0.shape[0]) }))
      }
    })

  static let split = OpDef(
    "TensorArraySplitV3",
    "handle: resource, value: T, lengths: int64, flow_in: float -> flow_out: float", "T: type",
    summary: "Writes parts of these lengths of a tensor to the elements, in order.",
    traits: [.stateful], infer: { _ in [.scalar] },
    refines: { ctx in
      // Parts differ in their first size.
      ctx.handle(0).map { [0: $0.adding(.unknown)] } ?? [:]
    },
    gradient: .rule { g in try TensorArrayGradients.split(g) },
    lowering: .kernel { ctx in
      let source = ArraySource(ctx)
      let element = ElementSource(ctx, 1)
      let parts = ctx.count(2)
      guard let rows = ctx.shape(1).first else { throw ctx.error("needs a tensor with rows") }
      let inner = Array(ctx.shape(1).dropFirst())
      return Kernel("splitArray") { call in
        let array = try source.read(call)
        guard let tensor = try element.read(call) as? Tensor else {
          throw source.failure("has no tensor to write")
        }
        guard array.isDynamic || parts == array.count else {
          throw source.failure("writes \(parts) elements of an array of size \(array.count)")
        }
        var at = 0
        for (index, length) in call.integers(2, .int64, count: parts).enumerated() {
          guard length >= 0, length <= rows - at else {
            throw source.failure("lengths do not add up to the \(rows) rows")
          }
          let part = try Rows.slice(tensor, first: at, count: length, shape: [length] + inner)
          try array.write(index, part, call, source.failure)
          at += length
        }
        guard at == rows else {
          throw source.failure("lengths add up to \(at), the value has \(rows) rows")
        }
        setFlow(call)
      }.storing(.adding(ctx.storedBytes(partsOf: 1, count: ctx.shape(2).first), into: 0))
    })

  static let size = OpDef(
    "TensorArraySizeV3", "handle: resource, flow_in: float -> size: int32",
    summary: "The number of elements, written or not.", traits: [.stateful],
    infer: { _ in [.scalar] }, gradient: .zero,
    lowering: .kernel { ctx in
      let source = ArraySource(ctx)
      return Kernel("sizeOfArray") { call in
        call.output(0, as: Int32.self)[0] = Int32(truncatingIfNeeded: try source.read(call).count)
      }
    })

  static let close = OpDef(
    "TensorArrayCloseV3", "handle: resource -> ",
    summary: "Nothing: an array goes when nothing uses it.", traits: [.stateful],
    infer: { _ in [] }, gradient: .none("it has no output"), lowering: .kernel { _ in .nothing })

  static let all = [
    make, grad, gradWithShape, write, read, gather, scatter, concat, split, size, close,
  ]
}
