// Checks of one node: type attributes from inputs, attributes against the signature, output types.

internal import WeftTensors

extension Graph {
  /// Most inputs, or outputs, of one node.
  static let portLimit = 1 << 16
  /// Most outputs of all nodes of a file together: a short file can state many.
  static let totalOutputsLimit = 1 << 22

  /// The attributes to store: those given, and those that the inputs decide.
  func inferAttrs(
    _ def: OpDef, inputs: [TensorType], given: [String: AttrValue]
  ) throws(WeftError) -> [String: AttrValue] {
    var attrs = given
    var next = 0
    let args = def.signature.inputs
    for (position, arg) in args.enumerated() {
      // The inputs that are left are shared by the arguments of one count that nothing gives yet.
      var width = 1
      if let count = arg.count {
        if case .int(let n)? = attrs[count] {
          width = Int(n)
        } else {
          let others = args[position...].reduce(0) { $0 + ($1.count == nil ? 1 : 0) }
          let sharing = args[position...].reduce(0) { $0 + ($1.count == count ? 1 : 0) }
          width = (inputs.count - next - others) / sharing
          attrs[count] = .int(Int64(width))
        }
      } else if case .list(let name) = arg.type {
        if case .list(let types)? = attrs[name] {
          width = types.count
        } else {
          let others = args.count - position - 1
          width = inputs.count - next - others
          let end = min(inputs.count, next + max(0, width))
          attrs[name] = .list(inputs[min(next, end)..<end].map { .type($0.dtype) })
        }
      }
      if case .attr(let name) = arg.type, attrs[name] == nil, next < inputs.count, width > 0 {
        attrs[name] = .type(inputs[next].dtype)
      }
      next += max(0, width)
    }
    return attrs
  }

  /// Every attribute of the signature is there or has a default, of the right kind and value.
  func checkAttrs(_ def: OpDef, _ stored: [String: AttrValue]) throws(WeftError) {
    for attr in def.signature.attrs {
      guard let value = stored[attr.name] ?? attr.defaultValue else {
        throw WeftError(
          .invalidArgument, "\(def.name) needs attr '\(attr.name)' (\(attr.kind)), it is missing")
      }
      let kind = value.kind
      let fits: Bool
      switch (attr.kind, value) {
      case (_, .placeholder): fits = true
      case (let wanted, .list(let items)) where wanted.hasPrefix("list("):
        fits = items.allSatisfy { "list(\($0.kind))" == wanted }
      default: fits = kind == attr.kind
      }
      guard fits else {
        throw WeftError(
          .invalidArgument,
          "\(def.name) attr '\(attr.name)' is a \(kind), expected \(attr.kind)"
        ).adding("attr", attr.name)
      }
      if let allowed = attr.allowedTypes {
        var types: [DType] = []
        if case .type(let type) = value { types = [type] }
        if case .list(let items) = value {
          types = items.compactMap { if case .type(let type) = $0 { type } else { nil } }
        }
        for type in types where !allowed.contains(type) && type != .invalid {
          throw WeftError(
            .invalidArgument,
            "\(def.name) attr '\(attr.name)' is \(type.name), which is not in the list of allowed "
              + "types: \(allowed.map(\.name).joined(separator: ", "))"
          ).adding("attr", attr.name)
        }
      }
      if let allowed = attr.allowedStrings, let text = value.text, !allowed.contains(text) {
        throw WeftError(
          .invalidArgument,
          "\(def.name) attr '\(attr.name)' is '\(text)', allowed are "
            + allowed.map { "'\($0)'" }.joined(separator: ", ")
        ).adding("attr", attr.name)
      }
      if let minimum = attr.minimum {
        let size: Int =
          switch value {
          case .int(let n): Int(n)
          case .list(let items): items.count
          default: minimum
          }
        guard size >= minimum else {
          throw WeftError(
            .invalidArgument,
            "\(def.name) attr '\(attr.name)' is \(size), at least \(minimum) is needed"
          ).adding("attr", attr.name)
        }
      }
    }
  }

  /// The output types of a node, after checking the number and types of its inputs.
  func inferTypes(
    _ def: OpDef, _ stored: [String: AttrValue], _ edges: [Edge], _ types: [TensorType]
  ) throws -> ([TensorType], [HandleType?]) {
    let attrs = Attrs(stored, signature: def.signature)
    let expected = try Graph.expand(def.signature.inputs, attrs, op: def.name)
    guard expected.count == types.count else {
      throw WeftError(
        .invalidArgument, "\(def.name) takes \(expected.count) inputs, got \(types.count)")
    }
    for (index, (want, got)) in zip(expected, types).enumerated() {
      guard want.dtype == got.dtype || got.dtype == .invalid || want.dtype == .invalid else {
        throw WeftError(
          .invalidArgument,
          "\(def.name) input '\(want.name)' must be \(want.dtype.name), got \(got.dtype.name)"
        ).adding("input", "\(index)")
      }
      if want.isReference, !got.isReference, got.dtype != .invalid {
        throw WeftError(
          .invalidArgument,
          "\(def.name) input '\(want.name)' must be a reference to a variable")
      }
    }
    // Before the shape rule: their number is what an attribute says.
    let outs = try Graph.expand(def.signature.outputs, attrs, op: def.name)
    let ctx = context(def, stored, edges, types)
    let shapes = try def.infer(ctx)
    guard shapes.count == outs.count else {
      throw WeftError(
        .internal, "\(def.name): shape rule gave \(shapes.count) shapes for \(outs.count) outputs")
    }
    let outputs = zip(outs, shapes).map {
      TensorType($0.dtype, $1, isReference: $0.isReference)
    }
    for output in outputs { try output.checkShape(def.name) }
    let handles = try def.handles?(ctx) ?? Array(repeating: nil, count: outputs.count)
    return (outputs, handles)
  }

  struct ExpandedArg {
    let name: String
    let dtype: DType
    let isReference: Bool
  }

  /// One entry for each tensor that `args` stand for under these attributes.
  static func expand(
    _ args: [ArgDef], _ attrs: Attrs, op: String
  ) throws(WeftError) -> [ExpandedArg] {
    var all: [ExpandedArg] = []
    for arg in args {
      switch arg.type {
      case .list(let name):
        for type in try attrs.types(name) {
          all.append(ExpandedArg(name: arg.name, dtype: type, isReference: arg.isReference))
        }
      case .fixed, .attr:
        let dtype: DType
        if case .attr(let name) = arg.type {
          dtype = try attrs.type(name)
        } else if case .fixed(let fixed) = arg.type {
          dtype = fixed
        } else {
          dtype = .invalid
        }
        var width = 1
        if let count = arg.count {
          width = try attrs.int(count)
          guard (0...Graph.portLimit).contains(width) else {
            throw WeftError(
              .invalidArgument,
              "\(op) attr '\(count)' is \(width), it must be from 0 to \(Graph.portLimit)"
            ).adding("attr", count)
          }
        }
        for _ in 0..<width {
          all.append(ExpandedArg(name: arg.name, dtype: dtype, isReference: arg.isReference))
        }
      }
    }
    return all
  }

  /// The error with node, operands and places added.
  func describe(
    _ error: WeftError, op: String, name: String, def: OpDef?, inputs: [Edge], origin: Origin
  ) -> WeftError {
    var result = error
    var place = "\(name)  (\(op))"
    if let text = origin.description { place += "  \(text)" }
    result.details.insert(WeftError.Detail("node", place), at: 0)
    let names = def.map { def in
      def.signature.inputs.flatMap { arg in
        arg.count == nil ? [arg.name] : Array(repeating: arg.name, count: inputs.count)
      }
    }
    for (index, edge) in inputs.prefix(8).enumerated() {
      let node = snapshot.nodes[edge.node]
      guard edge.port < node.outputs.count else { continue }
      var text = "\(node.name):\(edge.port)  \(node.outputs[edge.port])"
      if let made = node.origin.description { text += "  \(made)" }
      let label = names.flatMap { $0.indices.contains(index) ? $0[index] : nil } ?? "input \(index)"
      result.details.append(WeftError.Detail(label, text))
    }
    return result
  }
}
