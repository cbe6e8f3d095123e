// Tensor lists: making them, elements in and out. Lists are values; an element not set reads as zeros.

internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

extension InferContext {
  /// The shape that the elements of the list at input `index` are known to have.
  func listShape(_ index: Int) -> Shape { handle(index)?.shape ?? .unknown }

  /// The shape of the elements of the list at input `index` when one of shape `item` comes in.
  func listShape(_ index: Int, adding item: Shape) throws -> Shape {
    guard let list = handle(index) else { return .unknown }
    return list.isFresh ? try elementShape(list.shape, item) : list.shape.joined(with: item)
  }

  /// Elements that fit both shapes.
  func elementShape(_ a: Shape, _ b: Shape) throws -> Shape {
    guard let merged = a.merged(with: b) else {
      throw error("cannot hold elements of shape \(b) in a list of \(a)")
    }
    return merged
  }

  /// What a list output stands for.
  func listHandle(_ shape: Shape, isFresh: Bool = false) throws -> HandleType {
    HandleType(try attrs.type("element_dtype"), shape, isFresh: isFresh)
  }
}

/// Reads the list that a kernel is given.
struct ListSource: Sendable {
  let input: Int
  let dtype: DType?
  let failure: OpFailure

  init(_ ctx: LowerContext, _ input: Int = 0) throws {
    self.input = input
    dtype = ctx.attrs["element_dtype"] == nil ? nil : try ctx.attrs.type("element_dtype")
    failure = ctx.failure
  }

  func read(_ call: borrowing KernelCall) throws -> ListValue {
    guard let list = call.objectInput(input) as? ListValue else {
      throw failure("needs a list, input \(input) is none")
    }
    if let dtype, list.dtype != dtype {
      throw failure("expects a list of \(dtype.name), it is one of \(list.dtype.name)")
    }
    return list
  }

  /// The element, zeros where it is not set.
  func element(_ list: ListValue, _ index: Int, _ wanted: Shape) throws -> any Sendable {
    if let element = list[index] {
      if let tensor = element as? Tensor, !wanted.isCompatible(with: Shape(tensor.shape)) {
        throw failure("element \(index) has shape \(tensor.shape), expected \(wanted)")
      }
      return element
    }
    return try zeros(list, wanted, index)
  }

  private func zeros(_ list: ListValue, _ wanted: Shape, _ index: Int) throws -> any Sendable {
    if list.dtype == .variant { return ListValue(.float32, .unknown, elements: []) }
    guard var shape = list.elementShape.merged(with: wanted) else {
      throw failure("element shape \(list.elementShape) of the list does not fit \(wanted)")
    }
    if !shape.isFullyKnown, let tensor = list.elements.lazy.compactMap({ $0 as? Tensor }).first {
      shape = shape.merged(with: Shape(tensor.shape)) ?? shape
    }
    guard let sizes = shape.known else {
      throw failure("reads element \(index), which is not set and whose shape \(shape) is unknown")
    }
    return try Tensor.zeros(list.dtype, sizes)
  }

  /// All elements as tensors of one shape, and that shape.
  func tensors(_ list: ListValue, _ wanted: Shape) throws -> ([Tensor], [Int]) {
    guard var shape = list.elementShape.merged(with: wanted) else {
      throw failure("element shape \(list.elementShape) of the list does not fit \(wanted)")
    }
    let elements = list.elements
    for (index, element) in elements.enumerated() {
      guard let tensor = element as? Tensor else { continue }
      guard let merged = shape.merged(with: Shape(tensor.shape)) else {
        throw failure("element \(index) has shape \(tensor.shape), others have \(shape)")
      }
      shape = merged
    }
    guard let sizes = shape.known else {
      throw failure("of no elements that are set cannot know their shape \(shape)")
    }
    var missing: Tensor?
    let tensors = try elements.map { element in
      if let tensor = element as? Tensor { return tensor }
      let zeros = try missing ?? Tensor.zeros(list.dtype, sizes)
      missing = zeros
      return zeros
    }
    return (tensors, sizes)
  }
}

enum TensorListRows {
  static let shaped = "element_dtype: type; shape_type: {int32, int64} = int32"

  static func list(
    _ name: String, _ arguments: String, _ attributes: String, _ summary: String,
    isFresh: Bool = false,
    shape: @escaping @Sendable (InferContext) throws -> Shape,
    gradient: GradientRule, lower: @escaping @Sendable (LowerContext) throws -> Kernel
  ) -> OpDef {
    OpDef(
      name, arguments, attributes, summary: summary, infer: { _ in [.scalar] },
      handles: { ctx in [try ctx.listHandle(try shape(ctx), isFresh: isFresh)] },
      gradient: gradient, lowering: .kernel(lower))
  }

  /// A size that a list may have.
  static func checked(_ size: Int, _ failure: OpFailure) throws -> Int {
    guard size >= 0 else { throw failure("cannot have a negative number of elements: \(size)") }
    guard size <= ListValue.countLimit else {
      throw WeftError(
        .resourceExhausted,
        "\(failure.op): \(size) elements are more than a list may have, \(ListValue.countLimit)",
        category: .run)
    }
    return size
  }

  static let empty = list(
    "EmptyTensorList", "element_shape: shape_type, max_num_elements: int32 -> handle: variant",
    shaped, "A list without elements.", isFresh: true, shape: { try $0.statedShape(0) },
    gradient: .zero,
    lower: { ctx in
      let shape = ShapeSource(ctx, 0)
      let dtype = try ctx.attrs.type("element_dtype")
      return Kernel("emptyList") { call in
        call.setObject(ListValue(dtype, try shape.read(call), elements: []), output: 0)
      }.storing(.making(0))
    })

  static let reserve = list(
    "TensorListReserve", "element_shape: shape_type, num_elements: int32 -> handle: variant",
    shaped, "A list of num_elements elements that are not set.", isFresh: true,
    shape: { ctx in
      try ctx.checkScalar(1)
      if let count = ctx.integers(1)?.first, count < 0 {
        throw ctx.error("cannot have a negative number of elements: \(count)")
      }
      return try ctx.statedShape(0)
    },
    gradient: .zero,
    lower: { ctx in
      let shape = ShapeSource(ctx, 0)
      let dtype = try ctx.attrs.type("element_dtype")
      let failure = ctx.failure
      return Kernel("reserveList") { call in
        let count = try checked(Int(call.input(1, as: Int32.self)[0]), failure)
        call.setObject(
          ListValue(dtype, try shape.read(call), elements: Array(repeating: nil, count: count)),
          output: 0)
      }.storing(.making(0, places: ctx.storedPlaces(1)))
    })

  static let pushBack = list(
    "TensorListPushBack",
    "input_handle: variant, tensor: element_dtype -> output_handle: variant",
    "element_dtype: type", "The list with a tensor added at its end.",
    shape: { ctx in
      ctx.dtype(1) == .variant
        ? .unknown : try ctx.listShape(0, adding: ctx.shape(1))
    },
    gradient: .rule { g in try TensorListGradients.pushBack(g) },
    lower: { ctx in
      let source = try ListSource(ctx)
      let element = ElementSource(ctx, 1)
      return Kernel("pushList") { call in
        let list = try source.read(call)
        _ = try checked(list.count + 1, source.failure)
        try fits(element, list, source.failure)
        try call.objects.checkRoom(list.bytes, source.failure.op)
        call.setObject(list.appending(try element.read(call)), output: 0)
      }.storing(ctx.pushing(1, onto: 0))
    })

  static func fits(
    _ element: ElementSource, _ list: ListValue, _ failure: OpFailure
  ) throws {
    if element.dtype.isPlain, !list.elementShape.isCompatible(with: Shape(element.shape)) {
      throw failure(
        "cannot put an element of shape \(element.shape) in a list of \(list.elementShape)")
    }
  }

  static let popBack = OpDef(
    "TensorListPopBack",
    "input_handle: variant, element_shape: int32 -> output_handle: variant, tensor: element_dtype",
    "element_dtype: type", summary: "The list without its last element, and that element.",
    infer: { ctx in
      if try ctx.attrs.type("element_dtype") == .variant { return [.scalar, .scalar] }
      return [.scalar, try ctx.elementShape(ctx.listShape(0), try ctx.statedShape(1))]
    },
    handles: { ctx in [try ctx.listHandle(ctx.listShape(0)), nil] },
    gradient: .rule { g in try TensorListGradients.popBack(g) },
    lowering: .kernel { ctx in
      let source = try ListSource(ctx)
      let (shape, target) = (ShapeSource(ctx, 1), ElementTarget(ctx, 1))
      return Kernel("popList") { call in
        let list = try source.read(call)
        guard list.count > 0 else { throw source.failure("finds no element: the list is empty") }
        try target.write(
          call, try source.element(list, list.count - 1, try shape.read(call)))
        call.setObject(list.droppingLast(), output: 0)
      }.storing(.passing(0))
    })

  static let length = OpDef(
    "TensorListLength", "input_handle: variant -> length: int32",
    summary: "The number of elements.", infer: { _ in [.scalar] }, gradient: .zero,
    lowering: .kernel { ctx in
      let source = try ListSource(ctx)
      return Kernel("lengthOfList") { call in
        call.output(0, as: Int32.self)[0] = Int32(truncatingIfNeeded: try source.read(call).count)
      }
    })

  static let getItem = OpDef(
    "TensorListGetItem",
    "input_handle: variant, index: int32, element_shape: int32 -> item: element_dtype",
    "element_dtype: type", summary: "The element at index, zeros when it is not set.",
    infer: { ctx in
      try ctx.checkScalar(1)
      if try ctx.attrs.type("element_dtype") == .variant { return [.scalar] }
      return [try ctx.elementShape(ctx.listShape(0), try ctx.statedShape(2))]
    },
    gradient: .rule { g in try TensorListGradients.getItem(g) },
    lowering: .kernel { ctx in
      let source = try ListSource(ctx)
      let (shape, target) = (ShapeSource(ctx, 2), ElementTarget(ctx, 0))
      return Kernel("readList") { call in
        let list = try source.read(call)
        let index = Int(call.input(1, as: Int32.self)[0])
        guard index >= 0, index < list.count else {
          throw source.failure("index \(index) is not in a list of \(list.count) elements")
        }
        try target.write(call, try source.element(list, index, try shape.read(call)))
      }.storing(.passing(0))
    })

  static let setItem = list(
    "TensorListSetItem",
    "input_handle: variant, index: int32, item: element_dtype -> output_handle: variant",
    "element_dtype: type; resize_if_index_out_of_bounds: bool = false",
    "The list with another element at index.",
    shape: { ctx in
      try ctx.checkScalar(1)
      return ctx.dtype(2) == .variant
        ? .unknown : try ctx.listShape(0, adding: ctx.shape(2))
    },
    gradient: .rule { g in try TensorListGradients.setItem(g) },
    lower: { ctx in
      let source = try ListSource(ctx)
      let element = ElementSource(ctx, 2)
      let grows = try ctx.attrs.bool("resize_if_index_out_of_bounds")
      return Kernel("writeList") { call in
        var list = try source.read(call)
        let index = Int(call.input(1, as: Int32.self)[0])
        if grows, index >= list.count {
          list = list.resized(to: try checked(index + 1, source.failure))
        }
        guard index >= 0, index < list.count else {
          throw source.failure("index \(index) is not in a list of \(list.count) elements")
        }
        try fits(element, list, source.failure)
        try call.objects.checkRoom(list.bytes, source.failure.op)
        call.setObject(list.setting(index, try element.read(call)), output: 0)
      }.storing(
        ctx.dtype(2) == .variant
          ? .addingList(of: 2, into: 0) : .adding(ctx.storedBytes(2), into: 0))
    })

  static let all = [empty, reserve, pushBack, popBack, length, getItem, setItem]
}

extension RunObjects {
  /// Refuses what makes a list or array larger than the memory that a run may take.
  func checkRoom(_ bytes: Int, _ op: String) throws(WeftError) {
    guard bytes <= memoryLimit else {
      throw WeftError(
        .resourceExhausted,
        "\(op): the elements take \(bytes) bytes, the memory limit is \(memoryLimit)",
        category: .run)
    }
  }
}
