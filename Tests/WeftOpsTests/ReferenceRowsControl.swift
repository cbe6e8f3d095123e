// Rows of switches, tensor arrays, stacks, optionals and list ops without gradients.

import TestSupport
import WeftGraph
import WeftOps
import WeftTensors

private func array(
  _ graph: Graph, _ size: Int32, _ attrs: [String: AttrValue] = [:]
) throws -> (handle: Output, flow: Output) {
  let node = try graph.add(
    "TensorArrayV3", inputs: [graph.constant(size)],
    attrs: attrs.merging(["dtype": .type(.float64)]) { a, _ in a })
  return (all(node, graph)[0], all(node, graph)[1])
}

private func merged(_ graph: Graph, _ x: Output, _ taken: Bool, _ suffix: String) throws -> [Output]
{
  let node = try graph.add("Switch", inputs: [x, graph.constant(taken)])
  let (no, yes) = (all(node, graph)[0], all(node, graph)[1])
  return all(
    try graph.add("Merge", inputs: [try sin(no), try square(yes)], attrs: ["N": .int(2)]), graph)
}

let controlRows: [ReferenceRow] = [
  ReferenceRow("Switch and Merge", { [try doubles([0.5, 2])] }) { graph, x in
    ReferenceRow.Run(
      fetches: try merged(graph, x[0], true, "a") + merged(graph, x[0], false, "b"))
  },
  ReferenceRow("RefSwitch and RefMerge", { [try doubles([0.5, 2])] }) { graph, x in
    let node = try graph.add(
      "VariableV2", name: "v", attrs: ["dtype": .type(.float64), "shape": .shape([2])])
    let variable = all(node, graph)[0]
    let start = try graph.add("Assign", name: "start", inputs: [variable, x[0]])
    let both = all(
      try graph.add("RefSwitch", inputs: [variable, graph.constant(true)]), graph)
    let result = all(
      try graph.add("RefMerge", inputs: both, attrs: ["N": .int(2)]), graph)
    return ReferenceRow.Run(steps: [start], fetches: [try identity(result[0])])
  },
  ReferenceRow("TensorArrayV3", { [try doubles([1, 2, 3, 4], [2, 2])] }) { graph, x in
    let (handle, flow) = try array(graph, 3)
    let indices = try graph.constant([Int32(0), 2])
    let scattered = try graph.output("TensorArrayScatterV3", inputs: [handle, indices, x[0], flow])
    let row = try x[0].sliced(begin: [0, 0], size: [1, -1]).reshaped(to: [2])
    let written = try graph.output(
      "TensorArrayWriteV3", inputs: [handle, graph.constant(Int32(1)), try square(row), scattered])
    let size = try graph.output("TensorArraySizeV3", inputs: [handle, written])
    let one = try graph.output(
      "TensorArrayReadV3", inputs: [handle, graph.constant(Int32(2)), written],
      attrs: ["dtype": .type(.float64)])
    return ReferenceRow.Run(fetches: [size, one])
  },
  ReferenceRow("TensorArrayGatherV3", { [try doubles([1, 2, 3, 4], [2, 2])] }) { graph, x in
    let (handle, flow) = try array(graph, 2)
    let indices = try graph.constant([Int32(1), 0])
    let scattered = try graph.output("TensorArrayScatterV3", inputs: [handle, indices, x[0], flow])
    let gathered = try graph.output(
      "TensorArrayGatherV3", inputs: [handle, graph.constant([Int32(0), 1]), scattered],
      attrs: ["dtype": .type(.float64)])
    let close = try graph.add(
      "TensorArrayCloseV3", inputs: [handle], controls: [gathered.edge.node])
    return ReferenceRow.Run(
      fetches: [
        try graph.withControlDependencies([close.id]) { try identity(gathered) }
      ])
  },
  ReferenceRow("TensorArraySplitV3", { [try doubles([1, 2, 3, 4, 5, 6], [3, 2])] }) { graph, x in
    let (handle, flow) = try array(graph, 2)
    let split = try graph.output(
      "TensorArraySplitV3", inputs: [handle, x[0], graph.constant([Int64(1), 2]), flow])
    let node = try graph.add(
      "TensorArrayConcatV3", inputs: [handle, split], attrs: ["dtype": .type(.float64)])
    return ReferenceRow.Run(fetches: all(node, graph))
  },
  ReferenceRow("TensorArrayGradV3", { [try doubles([1, 2])] }) { graph, x in
    let (handle, flow) = try array(graph, 2)
    let zero = try graph.constant(Int32(0))
    let written = try graph.output("TensorArrayWriteV3", inputs: [handle, zero, x[0], flow])
    let grad = all(
      try graph.add(
        "TensorArrayGradV3", inputs: [handle, written], attrs: ["source": .string("g")]), graph)
    let first = try graph.output(
      "TensorArrayWriteV3", inputs: [grad[0], zero, x[0], grad[1]])
    let second = try graph.output(
      "TensorArrayWriteV3", inputs: [grad[0], zero, try square(x[0]), first])
    return ReferenceRow.Run(fetches: [
      try graph.output(
        "TensorArrayReadV3", inputs: [grad[0], zero, second], attrs: ["dtype": .type(.float64)])
    ])
  },
  ReferenceRow("StackV2", { [try doubles([1, 2])] }) { graph, x in
    let stack = try graph.output(
      "StackV2", inputs: [graph.constant(Int32(-1))], attrs: ["elem_type": .type(.float64)])
    let first = try graph.output("StackPushV2", inputs: [stack, x[0]])
    let second = try graph.output(
      "StackPushV2", inputs: [stack, try square(first)])
    let popped = try graph.output(
      "StackPopV2", inputs: [stack], attrs: ["elem_type": .type(.float64)],
      controls: [second.edge.node])
    let close = try graph.add("StackCloseV2", inputs: [stack], controls: [popped.edge.node])
    return ReferenceRow.Run(fetches: [
      try graph.withControlDependencies([close.id]) { try identity(popped) }
    ])
  },
  ReferenceRow("OptionalGetValue", { [try doubles([1, 2])] }) { graph, x in
    let some = try graph.output("OptionalFromValue", inputs: [x[0]])
    let none = try graph.output("OptionalNone", inputs: [])
    let value = try graph.output(
      "OptionalGetValue", inputs: [some],
      attrs: ["output_types": .list([.type(.float64)]), "output_shapes": .list([.shape([2])])])
    return ReferenceRow.Run(fetches: [
      value, try graph.output("OptionalHasValue", inputs: [some]),
      try graph.output("OptionalHasValue", inputs: [none]),
    ])
  },
  ReferenceRow("TensorListConcatLists", { [try doubles([1, 2, 3, 4], [2, 2])] }) { graph, x in
    let double: [String: AttrValue] = ["element_dtype": .type(.float64)]
    let sizes = try graph.constant([Int32(2)])
    let list = try graph.output("TensorListFromTensor", inputs: [x[0], sizes], attrs: double)
    let both = try graph.output("TensorListConcatLists", inputs: [list, list], attrs: double)
    let reserved = try graph.output(
      "TensorListReserve", inputs: [sizes, graph.constant(Int32(3))], attrs: double)
    return ReferenceRow.Run(fetches: [
      try graph.output("TensorListLength", inputs: [both]),
      try graph.output("TensorListLength", inputs: [reserved]),
      try graph.output(
        "TensorListElementShape", inputs: [reserved], attrs: ["shape_type": .type(.int64)]),
      try graph.output("TensorListStack", inputs: [both, sizes], attrs: double),
      try graph.output("TensorListStack", inputs: [reserved, sizes], attrs: double),
    ])
  },
]
