// Rows of ops without a gradient, and of types other than float64, for TensorFlow to repeat.

import TestSupport
import Testing
import WeftGraph
import WeftOps
import WeftTensors

/// A graph of fed tensors whose results TensorFlow has recorded.
struct ReferenceRow: Sendable, CustomTestStringConvertible {
  /// What a row runs: operations one after the other, then what is fetched.
  struct Run {
    var steps: [Node] = []
    var fetches: [Output]
  }

  let name: String
  /// How far floating-point results may be from TensorFlow's, relative to their largest element.
  let tolerance: Double
  let inputs: @Sendable () throws -> [Tensor]
  let build: @Sendable (Graph, [Output]) throws -> Run

  init(
    _ name: String, _ inputs: @escaping @Sendable () throws -> [Tensor] = { [] },
    tolerance: Double = 1e-10,
    build: @escaping @Sendable (Graph, [Output]) throws -> Run
  ) {
    self.name = name
    self.inputs = inputs
    self.tolerance = tolerance
    self.build = build
  }

  var testDescription: String { name }

  func referenceCase() throws -> ReferenceCase {
    let graph = Graph()
    let inputs = try inputs()
    let placeholders = try inputs.enumerated().map { index, value in
      try graph.placeholder(value.dtype, shape: Shape(value.shape), name: "x\(index)")
    }
    let run = try build(graph, placeholders)
    return ReferenceCase(
      name, graph, feeds: zip(placeholders, inputs).map { ($0, $1) }, steps: run.steps,
      fetches: run.fetches)
  }
}

/// A row of one op, the first word of `name`: every output is fetched.
/// - Parameter fixed: how many of the last inputs are constants, since sizes follow from them.
func op(
  _ name: String, _ inputs: @escaping @Sendable () throws -> [Tensor],
  fixed: Int = 0, _ attrs: [String: AttrValue] = [:], tolerance: Double = 1e-10
) -> ReferenceRow {
  let op = String(name.prefix { $0 != " " })
  return ReferenceRow(name, { try Array(inputs().dropLast(fixed)) }, tolerance: tolerance) {
    graph, x in
    let constants = try inputs().suffix(fixed).map { try graph.constant($0) }
    let node = try graph.add(op, inputs: x + constants, attrs: attrs)
    return ReferenceRow.Run(fetches: all(node, graph))
  }
}

/// Every output of `node`.
func all(_ node: Node, _ graph: Graph) -> [Output] {
  node.outputs.indices.map { Output(graph: graph, edge: Edge(node: node.id, port: $0)) }
}

func doubles(_ values: [Double], _ shape: [Int]? = nil) throws -> Tensor {
  try Tensor(values, shape: shape ?? [values.count])
}

func floats(_ values: [Float], _ shape: [Int]? = nil) throws -> Tensor {
  try Tensor(values, shape: shape ?? [values.count])
}

func ints(_ values: [Int32], _ shape: [Int]? = nil) throws -> Tensor {
  try Tensor(values, shape: shape ?? [values.count])
}

func longs(_ values: [Int64], _ shape: [Int]? = nil) throws -> Tensor {
  try Tensor(values, shape: shape ?? [values.count])
}

func bools(_ values: [Bool], _ shape: [Int]? = nil) throws -> Tensor {
  try Tensor(values, shape: shape ?? [values.count])
}

/// Numbers in `range`, the same in every run.
func drawn(_ shape: [Int], in range: ClosedRange<Double> = -1...1, seed: UInt64 = 5) throws
  -> Tensor
{
  var random = TestRandom(seed)
  return try randomTensor(shape, in: range, &random)
}

/// The same in float32.
func drawnFloats(_ shape: [Int], in range: ClosedRange<Double> = -1...1, seed: UInt64 = 5) throws
  -> Tensor
{
  let wide = try drawn(shape, in: range, seed: seed)
  return try Tensor(try wide.array(of: Double.self).map { Float($0) }, shape: shape)
}

let referenceRows: [ReferenceRow] =
  roundingRows + integerRows + comparisonRows + countingRows + shapeRows + choiceRows + castRows
  + randomRows + cellRows + assignRows + updateRows + optimizerRows + controlRows

private let emptyTarget =
  "it takes no tuples that name places of a tensor without elements, though each place is empty"

/// Cases of which TensorFlow refuses a part, and why.
let refusedByTensorFlow: [String: String] = [
  "gatherNd [[3, 2, 0]]": emptyTarget,
  "scatterNd [[3, 0]]": emptyTarget,
  "TensorScatterUpdate [[3, 2, 0], [3, 0]]": emptyTarget,
  "TensorScatterAdd [[3, 2, 0], [3, 0]]": emptyTarget,
  "TensorScatterSub [[3, 2, 0], [3, 0]]": emptyTarget,
  "TensorScatterMin [[3, 2, 0], [3, 0]]": emptyTarget,
  "TensorScatterMax [[3, 2, 0], [3, 0]]": emptyTarget,
  "conv2DDilations [[1, 6, 5, 2], [2, 2, 2, 2]]": "its CPU gradients take no dilation",
  "conv2DGroups [[1, 3, 3, 4], [2, 2, 2, 6]]": "its CPU gradients take no groups",
]

/// Ops that no case can hold, and why.
let unreferenced: [String: String] = [
  "PlaceholderV2": "graphs of TensorFlow's present version cannot have it",
  "Enter": loopsOnly, "RefEnter": loopsOnly, "Exit": loopsOnly, "RefExit": loopsOnly,
  "NextIteration": loopsOnly, "RefNextIteration": loopsOnly, "LoopCond": loopsOnly,
  "TensorArrayGradWithShape": "running it is refused",
  "SymbolicGradient": "TensorFlow calls the function by its name as an op, which no builder makes",
]

private let loopsOnly = "builders make no cycles; LoopTests run written graphs"
