// Gradient rows of conditionals, loops, calls and lists.

import TestSupport
import WeftGraph
import WeftOps
import WeftTensors

/// The node behind `output` once more, as another op with the same functions.
private func twin(_ output: Output, _ op: String) throws -> [Output] {
  let graph = output.graph
  let node = output.node
  let again = try graph.add(
    op, inputs: node.inputs.map { Output(graph: graph, edge: $0) }, attrs: node.attrs)
  return all(again, graph)
}

/// A call of a function of two arguments.
private func call(_ op: String, _ graph: Graph, _ x: [Output]) throws -> [Output] {
  let body = Graph()
  let parameters = try x.map { try body.placeholder($0.dtype, shape: $0.shape, name: "p") }
  let product = try parameters[0] * sin(parameters[1])
  let ref = try graph.addFunction(
    "product", body, parameters: parameters.map(\.edge),
    results: [product.edge, try square(parameters[0]).edge])
  let node = try graph.add(
    op, inputs: x,
    attrs: [
      "f": .function(ref), "Tout": .list([.type(.float64), .type(.float64)]),
    ])
  return all(node, graph).map { $0 }
}

private func choice(_ graph: Graph, _ x: [Output], _ taken: Bool) throws -> [Output] {
  try cond(
    graph.constant(taken), x, then: { [try $0[0] * sin($0[1]), try square($0[1])] },
    otherwise: { [try exp($0[1]), try $0[0] + $0[1]] })
}

private func cases(_ graph: Graph, _ x: [Output], _ op: String, _ index: Int32) throws -> [Output] {
  let both = try choice(graph, x, true)[0].node
  let branches = ["else_branch", "then_branch"].compactMap { both.attrs[$0] }
  let node = try graph.add(
    op, inputs: [try graph.constant(index)] + x,
    attrs: ["branches": .list(branches), "Tout": .list([.type(.float64), .type(.float64)])])
  return all(node, graph)
}

/// x0 after `trips` times x * sin(x) + x1, and how far it got.
private func power(_ graph: Graph, _ x: [Output], _ trips: Int32) throws -> [Output] {
  let shift = x[1]
  return try whileLoop(
    [graph.constant(Int32(0)), x[0]], condition: { try less($0[0], graph.constant(trips)) },
    body: { [try $0[0] + $0[0].graph.constant(Int32(1)), try $0[1] * sin($0[1]) + shift] })
}

let functionalRows: [GradientRow] =
  [true, false].flatMap { taken in
    [
      GradientRow("cond \(taken)", [[[], []], [[3], [3]], [[2, 2], [2, 2]]]) { graph, x in
        try choice(graph, x, taken)
      },
      GradientRow("If \(taken)", [[[3], [3]]]) { graph, x in
        try twin(try choice(graph, x, taken)[0], "If")
      },
    ]
  }
  + [Int32(0), 1, 7].flatMap { index in
    ["Case", "StatelessCase"].map { op in
      GradientRow("\(op) \(index)", [[[3], [3]]]) { graph, x in
        try cases(graph, x, op, index)
      }
    }
  }
  + ["PartitionedCall", "StatefulPartitionedCall"].map { op in
    GradientRow(op, [[[3], [3]]]) { graph, x in try call(op, graph, x) }
  }
  + [Int32(0), 1, 4].flatMap { trips in
    [
      GradientRow("whileLoop \(trips)", [[[], []], [[3], [3]]], in: 0.2...0.9) { graph, x in
        Array(try power(graph, x, trips).dropFirst())
      },
      GradientRow("While \(trips)", [[[3], [3]]], in: 0.2...0.9) { graph, x in
        [try twin(try power(graph, x, trips)[0], "While")[1]]
      },
    ]
  }

let loopRows: [GradientRow] = [
  GradientRow("scan", [[[3, 2], [2]], [[1, 2], [2]]], in: 0.2...0.9) { _, x in
    let result = try scan([x[0]], state: [x[1]]) { state, rows in
      let next = try tanh(state[0] * rows[0] + rows[0])
      return ([next], [try square(next)])
    }
    return result.state + result.values
  },
  GradientRow("scanReversed", [[[3, 2], [2]]], in: 0.2...0.9) { _, x in
    let result = try scan([x[0]], state: [x[1]], isReversed: true) { state, rows in
      let next = try tanh(state[0] * rows[0] + rows[0])
      return ([next], [try square(next)])
    }
    return result.state + result.values
  },
  GradientRow("map", [[[3, 2]], [[1, 4]]]) { _, x in
    try map(x) { [try sin($0[0]) * $0[0]] }
  },
  GradientRow("condInLoop", [[[2]]], in: 0.2...0.9) { graph, x in
    let results = try whileLoop(
      [graph.constant(Int32(0)), x[0]], condition: { try less($0[0], graph.constant(Int32(3))) },
      body: { v in
        let one = try v[0].graph.constant(Int32(1))
        let next = try cond(
          less(v[0], one), [v[1]], then: { [try square($0[0])] }, otherwise: { [try sin($0[0])] })
        return [try v[0] + one, next[0]]
      })
    return [results[1]]
  },
  GradientRow("loopInLoop", [[[2], [2]]], in: 0.2...0.9, order: 1) { graph, x in
    let factor = x[1]
    let results = try whileLoop(
      [graph.constant(Int32(0)), x[0]], condition: { try less($0[0], graph.constant(Int32(2))) },
      body: { v in
        let inner = try whileLoop(
          [v[0].graph.constant(Int32(0)), v[1]],
          condition: { try less($0[0], $0[0].graph.constant(Int32(2))) },
          body: { [try $0[0] + $0[0].graph.constant(Int32(1)), try sin($0[1]) * factor] })
        return [try v[0] + v[0].graph.constant(Int32(1)), inner[1]]
      })
    return [results[1]]
  },
]

/// What the rows below call: an op on lists of float64.
private func list(
  _ op: String, _ inputs: [Output], _ attrs: [String: AttrValue] = [:], from first: Output
) throws -> [Output] {
  let graph = first.graph
  let node = try graph.add(
    op, inputs: inputs, attrs: attrs.merging(["element_dtype": .type(.float64)]) { a, _ in a })
  return all(node, graph)
}

private func rows(_ x: Output) throws -> Output {
  let sizes = try x.graph.constant(integers: Array((x.shape.known ?? []).dropFirst()))
  return try list("TensorListFromTensor", [x, sizes], from: x)[0]
}

private func stacked(_ x: Output, _ sizes: [Int]) throws -> Output {
  try list("TensorListStack", [x, try x.graph.constant(integers: sizes)], from: x)[0]
}

let listRows: [GradientRow] = [
  GradientRow("TensorListStack", [[[3, 2]], [[1, 2]]]) { _, x in
    [try stacked(rows(square(x[0])), [2])]
  },
  GradientRow("TensorListGetItem", [[[3, 2]]]) { graph, x in
    let list_ = try rows(square(x[0]))
    let sizes = try graph.constant([Int32(2)])
    return try [Int32(0), 2, 2].map {
      try list("TensorListGetItem", [list_, graph.constant($0), sizes], from: x[0])[0]
    }
  },
  GradientRow("TensorListSetItem", [[[3, 2], [2]]]) { graph, x in
    let set = try list(
      "TensorListSetItem", [rows(square(x[0])), graph.constant(Int32(1)), sin(x[1])], from: x[0])
    return [try stacked(set[0], [2])]
  },
  GradientRow("TensorListPushBack", [[[2], [2]]]) { graph, x in
    let empty = try list(
      "EmptyTensorList", [graph.constant([Int32(2)]), graph.constant(Int32(-1))], from: x[0])[0]
    let one = try list("TensorListPushBack", [empty, square(x[0])], from: x[0])[0]
    let two = try list("TensorListPushBack", [one, sin(x[1])], from: x[0])[0]
    return [try stacked(two, [2])]
  },
  GradientRow("TensorListPopBack", [[[3, 2]]]) { graph, x in
    let sizes = try graph.constant([Int32(2)])
    let popped = try list("TensorListPopBack", [rows(square(x[0])), sizes], from: x[0])
    return [popped[1], try stacked(popped[0], [2])]
  },
  GradientRow("TensorListGather", [[[3, 2]]]) { graph, x in
    [
      try list(
        "TensorListGather",
        [rows(square(x[0])), graph.constant([Int32(2), 0]), graph.constant([Int32(2)])],
        from: x[0])[0]
    ]
  },
  GradientRow("TensorListScatter", [[[2, 2]]]) { graph, x in
    let scattered = try list(
      "TensorListScatter",
      [square(x[0]), graph.constant([Int32(2), 0]), graph.constant([Int32(2)])], from: x[0])
    return [try stacked(scattered[0], [2])]
  },
  GradientRow("TensorListScatterV2", [[[2, 2]]]) { graph, x in
    let scattered = try list(
      "TensorListScatterV2",
      [
        square(x[0]), graph.constant([Int32(2), 0]), graph.constant([Int32(2)]),
        graph.constant(Int32(4)),
      ], from: x[0])
    return [try stacked(scattered[0], [2])]
  },
  GradientRow("TensorListScatterIntoExistingList", [[[3, 2], [2, 2]]]) { graph, x in
    let scattered = try list(
      "TensorListScatterIntoExistingList",
      [rows(square(x[0])), sin(x[1]), graph.constant([Int32(2), 0])], from: x[0])
    return [try stacked(scattered[0], [2])]
  },
  GradientRow("TensorListResize", [[[3, 2]]]) { graph, x in
    let node = try graph.add(
      "TensorListResize", inputs: [rows(square(x[0])), graph.constant(Int32(2))])
    return [try stacked(all(node, graph)[0], [2])]
  },
  GradientRow("TensorListSplit", [[[3, 2]]]) { graph, x in
    let parts = try list(
      "TensorListSplit",
      [square(x[0]), graph.constant([Int32(-1), 2]), graph.constant([Int64(1), 2])], from: x[0])[0]
    return [
      try list(
        "TensorListConcatV2",
        [parts, graph.constant([Int32(-1), 2]), graph.constant([Int64]())], from: x[0])[0]
    ]
  },
  GradientRow("TensorListConcat", [[[3, 2]]]) { graph, x in
    let parts = try list(
      "TensorListSplit",
      [square(x[0]), graph.constant([Int32(-1), 2]), graph.constant([Int64(2), 1])], from: x[0])[0]
    return [
      try list("TensorListConcat", [parts], ["element_shape": .shape([-1, 2])], from: x[0])[0]
    ]
  },
]

/// An array of `size` float64 elements.
private func array(_ graph: Graph, _ size: Int32) throws -> (handle: Output, flow: Output) {
  let node = try graph.add(
    "TensorArrayV3", inputs: [graph.constant(size)],
    attrs: ["dtype": .type(.float64), "clear_after_read": .bool(false)])
  return (all(node, graph)[0], all(node, graph)[1])
}

// TensorFlow makes no second gradients of arrays.
let arrayRows: [GradientRow] = [
  GradientRow("TensorArrayV3", [[[2], [2]]], order: 1) { graph, x in
    let (handle, flow) = try array(graph, 3)
    var written = flow
    for (index, value) in try [square(x[0]), sin(x[1])].enumerated() {
      written = try graph.output(
        "TensorArrayWriteV3",
        inputs: [handle, graph.constant(Int32(index)), value, written])
    }
    return try [Int32(0), 1, 1].map {
      try graph.output(
        "TensorArrayReadV3", inputs: [handle, graph.constant($0), written],
        attrs: ["dtype": .type(.float64)])
    }
  },
  GradientRow("TensorArrayScatterV3", [[[2, 2]]], order: 1) { graph, x in
    let (handle, flow) = try array(graph, 2)
    let written = try graph.output(
      "TensorArrayScatterV3",
      inputs: [handle, graph.constant([Int32(1), 0]), square(x[0]), flow])
    return [
      try graph.output(
        "TensorArrayGatherV3", inputs: [handle, graph.constant([Int32(0), 1]), written],
        attrs: ["dtype": .type(.float64), "element_shape": .shape([2])])
    ]
  },
  GradientRow("TensorArraySplitV3", [[[3, 2]]], order: 1) { graph, x in
    let (handle, flow) = try array(graph, 2)
    let written = try graph.output(
      "TensorArraySplitV3",
      inputs: [handle, square(x[0]), graph.constant([Int64(1), 2]), flow])
    let node = try graph.add(
      "TensorArrayConcatV3", inputs: [handle, written],
      attrs: ["dtype": .type(.float64), "element_shape_except0": .shape([2])])
    return [all(node, graph)[0]]
  },
]
