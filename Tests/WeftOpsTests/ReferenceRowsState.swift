// Reference rows of variables: assignments, scatters and optimizer updates.

import WeftGraph
import WeftOps
import WeftTensors

/// A row of an op that updates variables in place; the variables are fetched.
private func updating(
  _ name: String, slots: @escaping @Sendable () throws -> [Tensor],
  _ rest: @escaping @Sendable () throws -> [Tensor],
  _ attrs: [String: AttrValue] = [:], fixed: Int = 0
) -> ReferenceRow {
  let op = name.prefix { $0 != " " }
  return ReferenceRow(
    name, { try slots() + rest().dropLast(fixed) }
  ) { graph, x in
    let count = try slots().count
    let constants = try rest().suffix(fixed).map { try graph.constant($0) }
    let others = Array(x.dropFirst(count)) + constants
    let isResource = op.hasPrefix("Resource") || op.hasSuffix("VariableOp")
    var (handles, steps, reads): ([Output], [Node], [Output]) = ([], [], [])
    for (index, value) in x.prefix(count).enumerated() {
      if isResource {
        let variable = try graph.variable("v\(index)", initialValue: value)
        handles.append(variable.handle)
        steps.append(variable.initializer)
        reads.append(variable.value)
      } else {
        let ref = try graph.referenceVariable(
          "v\(index)", dtype: value.dtype, shape: value.shape)
        handles.append(ref)
        steps.append(try assign(reference: ref, value).node)
        reads.append(try identity(ref))
      }
    }
    // Given to the op in TensorFlow's order; a sliced assignment has its value last.
    let value = fixed > 0 ? constants + others.dropLast(fixed) : others
    steps.append(try graph.add(String(op), inputs: handles + value, attrs: attrs))
    return ReferenceRow.Run(steps: steps, fetches: reads)
  }
}

private let counter: [String: AttrValue] = ["limit": .int(9)]

let assignRows: [ReferenceRow] = [
  updating(
    "AssignAddVariableOp", slots: { try [drawn([2, 3])] }, { try [drawn([2, 3], seed: 6)] }),
  updating("AssignSubVariableOp", slots: { try [ints([1, 2])] }, { try [ints([5, 7])] }),
  updating("AssignAdd", slots: { try [drawn([2, 3])] }, { try [drawn([2, 3], seed: 6)] }),
  updating("AssignSub", slots: { try [ints([1, 2])] }, { try [ints([5, 7])] }),
  updating("CountUpTo", slots: { try [ints([4], [])] }, { [] }, counter),
  updating(
    "StridedSliceAssign", slots: { try [drawn([5])] },
    { try [drawn([2], seed: 6), ints([1]), ints([5]), ints([2])] }, fixed: 3),
  updating(
    "ResourceStridedSliceAssign", slots: { try [drawn([5])] },
    { try [drawn([2], seed: 6), ints([1]), ints([5]), ints([2])] }, fixed: 3),
  ReferenceRow("variableState", { try [doubles([1, 2, 3])] }) { graph, x in
    let variable = try graph.variable("v", initialValue: x[0])
    let (gone, kept) = (
      try graph.variable("w", initialValue: x[0]),
      try graph.referenceVariable(
        "r", dtype: .float64, shape: [3])
    )
    let destroy = try graph.add("DestroyResourceOp", inputs: [gone.handle])
    let old = try graph.output(
      "Variable", attrs: ["dtype": .type(.float64), "shape": .shape([3])])
    let assigned = try assign(reference: old, x[0]).node
    return ReferenceRow.Run(
      steps: [variable.initializer, gone.initializer, destroy, assigned],
      fetches: [
        try isInitialized(variable), try isInitialized(gone), try variableShape(variable.handle),
        try graph.output("IsVariableInitialized", inputs: [kept]),
        try graph.output("IsVariableInitialized", inputs: [old]), try identity(old),
      ])
  },
]

private func scatters(_ suffix: String, _ kinds: [String], nd: Bool) -> [ReferenceRow] {
  var rows: [ReferenceRow] = []
  for prefix in ["Resource", ""] {
    for kind in kinds {
      rows.append(
        updating(
          "\(prefix)Scatter\(suffix)\(kind)", slots: { try [drawn([4, 2], in: 0.5...2)] },
          {
            // Rows that are named twice change twice; tuples of one number name rows, too.
            let indices = nd ? try ints([3, 0, 1], [3, 1]) : try ints([3, 0, 3])
            return [indices, try drawn([3, 2], in: 0.5...2, seed: 6)]
          }))
    }
  }
  return rows
}

let updateRows: [ReferenceRow] =
  scatters("", ["Add", "Sub", "Mul", "Div", "Min", "Max", "Update"], nd: false)
  + scatters("Nd", ["Add", "Sub", "Update"], nd: true)

/// Values of an optimizer's scalars.
private let scalars: [String: Double] = [
  "lr": 0.1, "alpha": 0.3, "momentum": 0.9, "beta1_power": 0.81, "beta2_power": 0.98,
  "beta1": 0.9, "beta2": 0.99, "epsilon": 1e-3, "rho": 0.95, "l1": 0.05, "l2": 0.02,
  "lr_power": -0.5, "sign_decay": 0.7, "beta": 0.8, "logbase": 1.1,
]

private struct Optimizer: Sendable {
  var name: String
  var slots: Int
  var rest: [String]
  var flag: String?

  init(_ name: String, _ slots: Int, _ rest: String, flag: String? = nil) {
    self.name = name
    self.slots = slots
    self.rest = rest.split(separator: " ").map { String($0) }
    self.flag = flag
  }

  func row(_ prefix: String, flag value: Bool? = nil) -> ReferenceRow {
    let isSparse = prefix.hasSuffix("SparseApply")
    let (slots, rest) = (slots, rest)
    let attrs: [String: AttrValue] =
      if let flag, let value { [flag: .bool(value)] } else { [:] }
    return updating(
      prefix + name + (value.map { " \(flag ?? "") \($0)" } ?? ""),
      // Squares of the one slot stay below the other, of which they are subtracted.
      slots: { try (0..<slots).map { try drawn([4, 3], in: 0.4...0.6, seed: UInt64(20 + $0)) } },
      {
        try rest.flatMap { input -> [Tensor] in
          guard input == "grad" || input == "delta" else {
            return [try Tensor(scalar: scalars[input] ?? .nan)]
          }
          let gradient = try drawn([isSparse ? 3 : 4, 3], seed: 30)
          return isSparse ? [gradient, try ints([2, 0, 2])] : [gradient]
        }
      }, attrs)
  }
}

private let optimizers: [Optimizer] = [
  Optimizer("GradientDescent", 1, "alpha delta"),
  Optimizer("Momentum", 2, "lr grad momentum", flag: "use_nesterov"),
  Optimizer(
    "Adam", 3, "beta1_power beta2_power lr beta1 beta2 epsilon grad", flag: "use_nesterov"),
  Optimizer("AdaMax", 3, "beta1_power lr beta1 beta2 epsilon grad"),
  Optimizer("RMSProp", 3, "lr rho momentum epsilon grad"),
  Optimizer("CenteredRMSProp", 4, "lr rho momentum epsilon grad"),
  Optimizer("Adagrad", 2, "lr grad", flag: "update_slots"),
  Optimizer("AdagradV2", 2, "lr epsilon grad", flag: "update_slots"),
  Optimizer("Adadelta", 3, "lr rho epsilon grad"),
  Optimizer("Ftrl", 3, "grad lr l1 l2 lr_power", flag: "multiply_linear_by_lr"),
  Optimizer("AddSign", 2, "lr alpha sign_decay beta grad"),
  Optimizer("PowerSign", 2, "lr logbase sign_decay beta grad"),
  Optimizer("ProximalGradientDescent", 1, "alpha l1 l2 delta"),
]
private let sparseOptimizers = [
  "Momentum", "RMSProp", "CenteredRMSProp", "Adagrad", "Adadelta", "Ftrl",
]

let optimizerRows: [ReferenceRow] = optimizers.flatMap { optimizer in
  var prefixes = ["ResourceApply", "Apply"]
  if sparseOptimizers.contains(optimizer.name) {
    prefixes += ["ResourceSparseApply", "SparseApply"]
  }
  return prefixes.flatMap { prefix in
    optimizer.flag == nil
      ? [optimizer.row(prefix)]
      : [optimizer.row(prefix, flag: false), optimizer.row(prefix, flag: true)]
  }
}
