// Gradients of the tensor array ops: each array has another of gradients, which flow edges order.

internal import WeftGraph
internal import WeftTensors

enum TensorArrayGradients {
  /// The array of gradients that belongs to the node's array, ordered after `flow`.
  private static func array(
    _ g: GradientContext, flow: Output
  ) throws -> (handle: Output, flow: Output) {
    // One array for each call of `gradients`, named after its scope.
    let source = g.graph.currentScope.split(separator: "/").first.map(String.init) ?? "gradients"
    let node = try g.graph.add(
      TensorArrayRows.grad.name, inputs: [g.input(0), flow], attrs: ["source": .string(source)])
    let ordered = try g.graph.withControlDependencies([node.id]) { try identity(flow) }
    return (g.graph.outputs(of: node)[0], ordered)
  }

  private static func none(_ count: Int, then last: Output) -> [Gradient?] {
    Array(repeating: nil, count: count) + [.dense(last)]
  }

  static func read(_ g: GradientContext) throws -> [Gradient?] {
    let (handle, flow) = try array(g, flow: g.input(2))
    return none(
      2,
      then: try g.graph.output(
        TensorArrayRows.write.name, inputs: [handle, g.input(1), try g.gradient(), flow]))
  }

  static func write(_ g: GradientContext) throws -> [Gradient?] {
    let (handle, flow) = try array(g, flow: try g.gradient())
    let value = try g.graph.output(
      TensorArrayRows.read.name, inputs: [handle, g.input(1), flow],
      attrs: ["dtype": .type(g.input(2).dtype)])
    return [nil, nil, .dense(value), .dense(try g.gradient())]
  }

  static func gather(_ g: GradientContext) throws -> [Gradient?] {
    let (handle, flow) = try array(g, flow: g.input(2))
    return none(
      2,
      then: try g.graph.output(
        TensorArrayRows.scatter.name, inputs: [handle, g.input(1), try g.gradient(), flow]))
  }

  static func scatter(_ g: GradientContext) throws -> [Gradient?] {
    let (handle, flow) = try array(g, flow: try g.gradient())
    let (indices, value) = (g.input(1), g.input(2))
    if case .known(let count)? = indices.shape.dims?.first,
      case .known(let size)? = value.shape.dims?.first, count != size
    {
      throw WeftError(
        .invalidArgument,
        "TensorArrayScatterV3 has a value of \(size) rows and \(count) indices")
    }
    let rows = value.shape.dims.map { Shape(dims: Array($0.dropFirst())) } ?? .unknown
    let rowsBack = try g.graph.output(
      TensorArrayRows.gather.name, inputs: [handle, indices, flow],
      attrs: ["dtype": .type(value.dtype), "element_shape": .shape(rows)])
    return [nil, nil, .dense(rowsBack), .dense(try g.gradient())]
  }

  static func concat(_ g: GradientContext) throws -> [Gradient?] {
    let (handle, flow) = try array(g, flow: g.input(1))
    return none(
      1,
      then: try g.graph.output(
        TensorArrayRows.split.name, inputs: [handle, try g.gradient(), g.output(1), flow]))
  }

  static func split(_ g: GradientContext) throws -> [Gradient?] {
    let (handle, flow) = try array(g, flow: try g.gradient())
    let value = g.input(1)
    let rest = value.shape.dims.map { Shape(dims: Array($0.dropFirst())) } ?? .unknown
    let node = try g.graph.add(
      TensorArrayRows.concat.name, inputs: [handle, flow],
      attrs: ["dtype": .type(value.dtype), "element_shape_except0": .shape(rest)])
    return [nil, .dense(g.graph.outputs(of: node)[0]), nil, .dense(try g.gradient())]
  }
}
