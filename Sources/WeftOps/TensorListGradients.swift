// Gradients of the tensor list ops: the gradient of a list is a list.

internal import WeftGraph
internal import WeftTensors

enum TensorListGradients {
  private static func sizes(_ x: Output, dropping rows: Int = 0) throws -> Output {
    let all = try x.shapeTensor()
    return rows == 0 ? all : try all.sliced(begin: [rows], size: [-1])
  }

  private static func dtype(_ g: GradientContext) throws -> AttrValue {
    .type(try g.attrs.type("element_dtype"))
  }

  private static func elementShape(_ list: Output) throws -> Output {
    try list.graph.output(
      TensorListWholeRows.elementShape.name, inputs: [list], attrs: ["shape_type": .type(.int32)])
  }

  private static func length(_ list: Output) throws -> Output {
    try list.graph.output(TensorListRows.length.name, inputs: [list])
  }

  /// A new list without elements.
  static func empty(_ graph: Graph, _ dtype: DType, _ shape: Output) throws -> Output {
    try graph.output(
      TensorListRows.empty.name, inputs: [shape, try graph.constant(Int32(-1))],
      attrs: ["element_dtype": .type(dtype)])
  }

  /// The list with `x` at its end.
  static func push(_ list: Output, _ x: Output) throws -> Output {
    try list.graph.output(
      TensorListRows.pushBack.name, inputs: [list, x], attrs: ["element_dtype": .type(x.dtype)])
  }

  /// The list without its last element, and that element of the shape `shape`.
  static func pop(_ list: Output, _ dtype: DType, _ shape: Output) throws -> (Output, Output) {
    let node = try list.graph.add(
      TensorListRows.popBack.name, inputs: [list, shape], attrs: ["element_dtype": .type(dtype)])
    let outputs = list.graph.outputs(of: node)
    return (outputs[0], outputs[1])
  }

  static func pushBack(_ g: GradientContext) throws -> [Gradient?] {
    let element = g.input(1)
    let shape =
      element.dtype == .variant
      ? try unknownShape(g.graph) : try sizes(element)
    let (list, tensor) = try pop(try g.gradient(), element.dtype, shape)
    return [.dense(list), .dense(tensor)]
  }

  /// A scalar -1: elements of any shape.
  static func unknownShape(_ graph: Graph) throws -> Output { try graph.constant(Int32(-1)) }

  static func popBack(_ g: GradientContext) throws -> [Gradient?] {
    let list =
      g.gradients[0] == nil
      ? try empty(
        g.graph, try g.attrs.type("element_dtype"),
        try g.attrs.type("element_dtype") == .variant
          ? unknownShape(g.graph) : elementShape(g.output(0)))
      : try g.gradient(0)
    return [.dense(try push(list, try g.gradient(1))), nil]
  }

  static func fromTensor(_ g: GradientContext) throws -> [Gradient?] {
    let tensor = g.input(0)
    let count = tensor.shape.dim(0).size ?? -1
    let value = try g.graph.output(
      TensorListWholeRows.stack.name,
      inputs: [try g.gradient(), try sizes(tensor, dropping: 1)],
      attrs: ["element_dtype": try dtype(g), "num_elements": .int(Int64(count))])
    return [.dense(value), nil]
  }

  static func stack(_ g: GradientContext) throws -> [Gradient?] {
    let dy = try g.gradient()
    return [
      .dense(
        try g.graph.output(
          TensorListWholeRows.fromTensor.name, inputs: [dy, try sizes(dy, dropping: 1)],
          attrs: ["element_dtype": try dtype(g)])), nil,
    ]
  }

  static func getItem(_ g: GradientContext) throws -> [Gradient?] {
    let list = g.input(0)
    let zeros = try g.graph.output(
      TensorListRows.reserve.name, inputs: [try elementShape(list), try length(list)],
      attrs: ["element_dtype": try dtype(g)])
    let set = try g.graph.output(
      TensorListRows.setItem.name, inputs: [zeros, g.input(1), try g.gradient()],
      attrs: ["element_dtype": try dtype(g)])
    return [.dense(set), nil, nil]
  }

  static func setItem(_ g: GradientContext) throws -> [Gradient?] {
    let (index, item, dy) = (g.input(1), g.input(2), try g.gradient())
    let cleared = try g.graph.output(
      TensorListRows.setItem.name, inputs: [dy, index, try zerosLike(item)],
      attrs: ["element_dtype": try dtype(g)])
    let shape = item.dtype == .variant ? try unknownShape(g.graph) : try sizes(item)
    let own = try g.graph.output(
      TensorListRows.getItem.name, inputs: [dy, index, shape],
      attrs: ["element_dtype": try dtype(g)])
    return [.dense(cleared), nil, .dense(own)]
  }

  static func concat(_ g: GradientContext) throws -> [Gradient?] {
    let list = try g.graph.output(
      TensorListWholeRows.split.name,
      inputs: [try g.gradient(), try elementShape(g.input(0)), g.output(1)],
      attrs: ["element_dtype": try dtype(g)])
    return [.dense(list)] + Array(repeating: nil, count: g.inputCount - 1)
  }

  static func split(_ g: GradientContext) throws -> [Gradient?] {
    // Elements differ in their first size alone.
    let shape = try WeftOps.concat(
      [try g.graph.constant(integers: [-1]), try sizes(g.input(0), dropping: 1)], axis: 0)
    let tensor = try g.graph.add(
      TensorListWholeRows.concatV2.name, inputs: [try g.gradient(), shape, g.input(2)],
      attrs: ["element_dtype": try dtype(g)])
    return [.dense(g.graph.outputs(of: tensor)[0]), nil, nil]
  }

  static func gather(_ g: GradientContext) throws -> [Gradient?] {
    let list = g.input(0)
    let scattered = try g.graph.output(
      TensorListWholeRows.scatterV2.name,
      inputs: [try g.gradient(), g.input(1), try elementShape(list), try length(list)],
      attrs: ["element_dtype": try dtype(g)])
    return [.dense(scattered), nil, nil]
  }

  private static func rows(_ g: GradientContext, _ tensor: Output, _ indices: Output) throws
    -> Output
  {
    try g.graph.output(
      TensorListWholeRows.gather.name,
      inputs: [try g.gradient(), indices, try sizes(tensor, dropping: 1)],
      attrs: ["element_dtype": try dtype(g)])
  }

  static func scatter(_ g: GradientContext) throws -> [Gradient?] {
    [.dense(try rows(g, g.input(0), g.input(1)))]
      + Array(repeating: nil, count: g.inputCount - 1)
  }

  static func scatterInto(_ g: GradientContext) throws -> [Gradient?] {
    let cleared = try g.graph.output(
      TensorListWholeRows.scatterInto.name,
      inputs: [try g.gradient(), try zerosLike(g.input(1)), g.input(2)],
      attrs: ["element_dtype": try dtype(g)])
    return [.dense(cleared), .dense(try rows(g, g.input(1), g.input(2))), nil]
  }

  static func resize(_ g: GradientContext) throws -> [Gradient?] {
    [
      .dense(
        try g.graph.output(
          TensorListWholeRows.resize.name, inputs: [try g.gradient(), try length(g.input(0))])),
      nil,
    ]
  }
}
