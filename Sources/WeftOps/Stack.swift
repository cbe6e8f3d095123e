// TensorFlow 1's stacks, and optionals: values that the gradients of loops and conditionals keep.

internal import WeftGraph
internal import WeftTensors

enum StackRows {
  private static let noGradient: GradientRule = .none("stacks belong to gradients already made")

  static let make = OpDef(
    "StackV2", "max_size: int32 -> handle: resource", "elem_type: type; stack_name: string = ''",
    summary: "A new empty stack.", traits: [.stateful, .makesObject],
    infer: { ctx in
      try ctx.checkScalar(0)
      return [TensorArrayRows.handleShape]
    },
    handles: { ctx in [HandleType(try ctx.attrs.type("elem_type"), .unknown, isFresh: true)] },
    gradient: noGradient,
    lowering: .kernel { ctx in
      let dtype = try ctx.attrs.type("elem_type")
      return Kernel("makeStack") { call in
        call.setObject(
          StackValue(dtype: dtype, limit: Int(call.input(0, as: Int32.self)[0])), output: 0)
      }.storing(.making(0))
    })

  static let push = OpDef(
    "StackPushV2", "handle: resource, elem: T -> output: T",
    "T: type; swap_memory: bool = false", summary: "Its element, put on the stack.",
    traits: [.stateful], infer: { ctx in [ctx.shape(1)] }, handles: { ctx in [ctx.handle(1)] },
    refines: { ctx in ctx.handle(0).map { [0: $0.adding(ctx.shape(1))] } ?? [:] },
    gradient: noGradient,
    lowering: .kernel { ctx in
      let element = ElementSource(ctx, 1)
      let target = ElementTarget(ctx, 0)
      return Kernel("pushStack") { call in
        guard let stack = call.objectInput(0) as? StackValue else {
          throw target.failure("needs a stack, its handle is none")
        }
        guard stack.dtype == element.dtype else {
          throw target.failure(
            "puts \(element.dtype.name) on a stack of \(stack.dtype.name)")
        }
        let value = try element.read(call)
        try stack.push(value, call, target.failure)
        try target.write(call, value)
      }.storing(ctx.pushing(1, onto: 0))
    })

  static let pop = OpDef(
    "StackPopV2", "handle: resource -> elem: elem_type", "elem_type: type",
    summary: "The element on top, taken from the stack.", traits: [.stateful],
    infer: { ctx in
      let dtype = try ctx.attrs.type("elem_type")
      if dtype == .variant || dtype == .resource { return [.unknown] }
      guard let stack = ctx.handle(0), !stack.isFresh else { return [.unknown] }
      return [stack.shape]
    },
    gradient: noGradient,
    lowering: .kernel { ctx in
      let target = ElementTarget(ctx, 0)
      return Kernel("popStack") { call in
        guard let stack = call.objectInput(0) as? StackValue else {
          throw target.failure("needs a stack, its handle is none")
        }
        try target.write(call, try stack.pop(target.failure))
      }.storing(.passing(0))
    })

  static let close = OpDef(
    "StackCloseV2", "handle: resource -> ", summary: "Nothing: a stack goes when nothing uses it.",
    traits: [.stateful], infer: { _ in [] }, gradient: .none("it has no output"),
    lowering: .kernel { _ in .nothing })

  static let all = [make, push, pop, close]
}

/// Some values, or none.
struct OptionalValue: Sendable {
  var values: [any Sendable]?
}

enum OptionalRows {
  private static let noGradient: GradientRule = .none("optionals belong to gradients already made")

  static let none = OpDef(
    "OptionalNone", " -> optional: variant", summary: "An optional without values.",
    infer: { _ in [.scalar] }, gradient: .zero,
    lowering: .kernel { _ in
      Kernel("noValues") { call in call.setObject(OptionalValue(values: nil), output: 0) }.storing(
        .making(0))
    })

  static let some = OpDef(
    "OptionalFromValue", "components: Toutput_types -> optional: variant",
    "Toutput_types: list(type) >= 1", summary: "An optional with its inputs as values.",
    infer: { _ in [.scalar] }, gradient: noGradient,
    lowering: .kernel { ctx in
      let elements = ctx.inputs.indices.map { ElementSource(ctx, $0) }
      return Kernel("someValues") { call in
        var values: [any Sendable] = []
        for element in elements { values.append(try element.read(call)) }
        call.setObject(OptionalValue(values: values), output: 0)
      }.storing(
        .making(
          ctx.inputs.indices.reduce(0) { sum, index in
            sum.flatMap { sum in ctx.storedBytes(index).map { sum + $0 } }
          }))
    })

  static let has = OpDef(
    "OptionalHasValue", "optional: variant -> has_value: bool",
    summary: "Whether the optional has values.", infer: { _ in [.scalar] }, gradient: .zero,
    lowering: .kernel { ctx in
      let failure = ctx.failure
      return Kernel("hasValues") { call in
        guard let optional = call.objectInput(0) as? OptionalValue else {
          throw failure("needs an optional")
        }
        call.output(0, as: Bool.self)[0] = optional.values != nil
      }
    })

  static let get = OpDef(
    "OptionalGetValue", "optional: variant -> components: output_types",
    "output_types: list(type) >= 1; output_shapes: list(shape) >= 1",
    summary: "The values of the optional; none is an error.",
    infer: { ctx in
      let count = try ctx.attrs.types("output_types").count
      let shapes = try ctx.attrs.shapes("output_shapes")
      guard shapes.count == count else {
        throw ctx.error("lists \(shapes.count) shapes for \(count) types")
      }
      return shapes
    },
    gradient: noGradient,
    lowering: .kernel { ctx in
      let targets = ctx.outputs.indices.map { ElementTarget(ctx, $0) }
      let failure = ctx.failure
      return Kernel("valuesOf") { call in
        guard let optional = call.objectInput(0) as? OptionalValue else {
          throw failure("needs an optional")
        }
        guard let values = optional.values, values.count == targets.count else {
          throw failure("finds no values in the optional")
        }
        for (target, value) in zip(targets, values) { try target.write(call, value) }
      }.storing(.passing(0))
    })

  static let all = [none, some, has, get]
}
