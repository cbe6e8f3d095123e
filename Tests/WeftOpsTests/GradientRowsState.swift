// Gradient rows of variables, and of ops that pass a value on.

import TestSupport
import WeftGraph
import WeftOps
import WeftTensors

let variableRows: [GradientRow] = [
  GradientRow("readVariable", [[[]], [[0]], [[3, 5]]], inputs: .variables) { graph, v in
    let read = try graph.output(
      "ReadVariableOp", inputs: [v[0]], attrs: ["dtype": .type(.float64)])
    return [try square(read)]
  },
  GradientRow("resourceGather", [[[5]], [[5, 3]], [[5, 0]]], inputs: .variables) { graph, v in
    // A row that is read twice gets both contributions, one that is not read gets none.
    let rows = try graph.constant([Int32(4), 0, 4, 2], shape: [2, 2])
    return [
      try square(
        graph.output(
          "ResourceGather", inputs: [v[0], rows], attrs: ["dtype": .type(.float64)]))
    ]
  },
  GradientRow("readAndGather", [[[5, 3]]], inputs: .variables) { graph, v in
    let read = try graph.output(
      "ReadVariableOp", inputs: [v[0]], attrs: ["dtype": .type(.float64)])
    let row = try graph.output(
      "ResourceGather", inputs: [v[0], graph.constant([Int64(3), 1])],
      attrs: ["dtype": .type(.float64)])
    return [try square(row), try square(read)]
  },
  GradientRow("referenceVariable", [[[]], [[3]], [[2, 3]]], inputs: .references) { graph, v in
    let same = try graph.output("RefIdentity", inputs: [v[0]])
    return [try square(same) + square(v[0])]
  },
]

private func passed(_ op: String, _ attrs: [String: AttrValue] = [:]) -> GradientRow {
  GradientRow(op, [[[]], [[0]], [[3, 5]]]) { graph, x in
    [try square(graph.output(op, inputs: [square(x[0])], attrs: attrs))]
  }
}

let passRows: [GradientRow] = [
  passed("Snapshot"),
  passed("DeepCopy"),
  passed("CheckNumerics", ["message": .string("row")]),
  passed("CheckNumericsV2", ["message": .string("row")]),
  // It shows nothing: `first_n` is reached at once.
  passed("Print", ["first_n": .int(0)]),
  GradientRow("identities", [[[], [3]], [[0], [2, 3]]]) { _, x in
    try identities(x).map { try square($0) }
  },
  GradientRow("ensureShape", [[[]], [[0]], [[3, 5]]]) { _, x in
    [try square(x[0].ensuringShape(x[0].shape))]
  },
  GradientRow("placeholderWithDefault", [[[]], [[0]], [[3, 5]]]) { graph, x in
    [try square(graph.placeholder(withDefault: x[0], shape: x[0].shape))]
  },
]
