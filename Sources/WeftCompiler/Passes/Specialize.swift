// Shapes for the concrete feeds, and the values that follow from them.

internal import WeftGraph
internal import WeftOps
internal import WeftTensors

extension IR {
  /// Values of more bytes than this are computed in the run, not before it.
  static let largestKnown = 1 << 16

  /// Infers every type again with the feeds' shapes; evaluates what depends on constants alone.
  package mutating func specialize() throws {
    let sequence = order()
    guard sequence.count == liveCount else {
      let done = Set(sequence)
      let stuck = nodes.indices.first { live[$0] && !done.contains($0) }
      throw WeftError(
        .unimplemented, "the graph has a cycle through '\(stuck.map { nodes[$0].name } ?? "?")'")
    }
    // Integers of scalars and vectors, as far as they are known.
    var partial: [Edge: [Dim]] = [:]
    let one = ThreadPool(width: 1)
    for id in sequence {
      guard case .op = nodes[id].kind else {
        if case .variable = nodes[id].kind { continue }
        continue
      }
      do {
        let node = nodes[id]
        let context = inferContext(id, partial)
        let shapes = try node.def.infer(context)
        guard shapes.count == node.outputs.count else {
          throw WeftError(.internal, "\(node.def.name) gave \(shapes.count) shapes")
        }
        for (port, shape) in shapes.enumerated() {
          guard let merged = node.outputs[port].shape.merged(with: shape) else {
            throw WeftError(
              .invalidArgument,
              "\(node.def.name) output \(port) was declared \(node.outputs[port].shape), "
                + "these feeds make it \(shape)")
          }
          // What this run infers counts; what the file declared fills what it cannot know.
          nodes[id].outputs[port].shape = node.def.traits.contains(.dataDependent) ? shape : merged
          try nodes[id].outputs[port].checkMemory(node.def.name, within: memoryLimit)
        }
        if let handles = try node.def.handles?(context) { nodes[id].handles = handles }
        // What comes after this node sees what it puts behind a handle.
        for (input, handle) in node.def.refines?(context) ?? [:] {
          let edge = node.inputs[input]
          if nodes[edge.node].handles.indices.contains(edge.port) {
            nodes[edge.node].handles[edge.port] = handle
          }
        }
        if let dims = node.def.value?(context) {
          let edge = Edge(node: id, port: 0)
          partial[edge] = dims
          if let tensor = IR.tensor(dims, type: nodes[id].outputs[0]) { known[edge] = tensor }
        }
        if let value = valueOfShape(id) { known[Edge(node: id, port: 0)] = value }
        try evaluate(id, pool: one)
      } catch {
        throw locate(error, at: id)
      }
    }
  }

  func inferContext(_ id: Int, _ partial: [Edge: [Dim]]) -> InferContext {
    let node = nodes[id]
    let inputs = node.inputs
    let tensors = inputs.map { known[$0] }
    let values = inputs.map { partial[$0] }
    let behind = inputs.map { edge -> HandleType? in
      let handles = nodes[edge.node].handles
      return handles.indices.contains(edge.port) ? handles[edge.port] : nil
    }
    return InferContext(
      op: node.def, attrs: Attrs(node.attrs, signature: node.def.signature),
      inputs: inputs.map { type($0) }, values: { $0 < values.count ? values[$0] : nil },
      tensors: { $0 < tensors.count ? tensors[$0] : nil },
      handleTypes: { $0 < behind.count ? behind[$0] : nil })
  }

  // Zeros or ones of a known small shape, whatever the operand's elements are: a gradient then does
  // not wait for what it is the gradient of.
  private func valueOfShape(_ id: Int) -> Tensor? {
    let isZero = isOp(id, KnownOp.zerosLike)
    guard isZero || isOp(id, KnownOp.onesLike), let shape = nodes[id].outputs[0].shape.known,
      let bytes = try? Tensor.byteCount(dtype: nodes[id].outputs[0].dtype, shape: shape),
      bytes > 0, bytes <= IR.largestKnown
    else { return nil }
    let dtype = nodes[id].outputs[0].dtype
    if isZero { return dtype.isPlain ? try? Tensor(zeros: dtype, shape: shape) : nil }
    let count = shape.reduce(1, *)
    return switch dtype {
    case .float32: try? Tensor([Float](repeating: 1, count: count), shape: shape)
    case .float64: try? Tensor([Double](repeating: 1, count: count), shape: shape)
    default: nil
    }
  }

  // A tensor of fully known integers.
  private static func tensor(_ dims: [Dim], type: TensorType) -> Tensor? {
    let integers = dims.compactMap(\.size)
    guard integers.count == dims.count, let shape = type.shape.known,
      Shape.checkedCount(shape) == integers.count
    else { return nil }
    switch type.dtype {
    case .int32:
      let values = integers.compactMap { Int32(exactly: $0) }
      return values.count == integers.count ? try? Tensor(values, shape: shape) : nil
    case .int64: return try? Tensor(integers.map { Int64($0) }, shape: shape)
    default: return nil
    }
  }

  // Runs the node's kernel now when all inputs are known, it has no effects and is small. A kernel
  // that fails here is left to fail in the run, where the error belongs.
  private mutating func evaluate(_ id: Int, pool: ThreadPool) throws {
    let node = nodes[id]
    let traits = node.def.traits
    guard !node.isStateful, !traits.contains(.readsVariable), !traits.contains(.dataDependent),
      node.outputs.indices.contains(where: { known[Edge(node: id, port: $0)] == nil }),
      case .kernel(let lower) = node.def.lowering
    else { return }
    var inputs: [Tensor] = []
    for edge in node.inputs {
      guard let value = known[edge], value.dtype.isPlain else { return }
      inputs.append(value)
    }
    var bytes = 0
    for output in node.outputs {
      guard output.dtype.isPlain, let shape = output.shape.known,
        let size = try? Tensor.byteCount(dtype: output.dtype, shape: shape), size <= IR.largestKnown
      else { return }
      bytes += size
    }
    guard bytes <= IR.largestKnown else { return }
    let context = LowerContext(
      name: node.name, op: node.def, attrs: Attrs(node.attrs, signature: node.def.signature),
      inputs: inputs.map(\.type), outputs: node.outputs,
      tensors: { [inputs] in $0 < inputs.count ? inputs[$0] : nil },
      variables: { _ in throw WeftError(.internal, "no variable in a constant") })
    guard let kernel = try? lower(context) else { return }
    switch kernel.action {
    case .nothing, .keeping: return
    case .alias(let input):
      if let value = try? inputs[input].reshaped(to: node.outputs[0].shape.known ?? []) {
        known[Edge(node: id, port: 0)] = value
      }
    case .call(let function):
      guard kernel.bounds.isEmpty else { return }
      let outputs = try node.outputs.map {
        try Tensor(zeros: $0.dtype, shape: $0.shape.known ?? [])
      }
      let scratch = try Buffer(byteCount: kernel.scratchBytes)
      let arguments = (inputs + outputs).map(\.buffer.base)
      let succeeded: Bool = arguments.withUnsafeBufferPointer { list in
        guard let base = list.baseAddress else { return false }
        let call = KernelCall(
          arguments: base, inputCount: inputs.count, scratch: scratch.base, pool: pool,
          objects: RunObjects(), objectBase: 0)
        return (try? function(call)) != nil
      }
      guard succeeded else { return }
      for (port, value) in outputs.enumerated() { known[Edge(node: id, port: port)] = value }
    }
  }
}
