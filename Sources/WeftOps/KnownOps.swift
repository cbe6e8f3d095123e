// Ops that the compiler's patterns name: the rows themselves, so that no pattern spells a name.

package import WeftGraph

/// Rows that passes look for.
package enum KnownOp {
  package static let matMul = matMulRow
  package static let biasAdd = [BiasRows.add, BiasRows.addV1]
  package static let biasAddGrad = BiasRows.grad
  package static let add = [addRow, legacyAddRow]
  package static let subtract = subtractRow
  package static let multiply = multiplyRow
  package static let negate = negateRow
  package static let addN = addNRow
  package static let sum = sumRow
  package static let relu = ActivationRows.relu
  package static let tanh = tanhRow
  package static let sigmoid = sigmoidRow
  package static let reluGrad = ActivationRows.reluGrad
  /// f(y) dy: zero where the second operand is.
  package static let activationGrads = [tanhGradRow, sigmoidGradRow]
  package static let sparseCrossEntropy = CrossEntropyRows.sparse
  package static let denseCrossEntropy = CrossEntropyRows.dense
  package static let pack = ConcatRows.pack
  package static let unpack = SplitRows.unpack
  package static let concat = ConcatRows.concatV2
  package static let split = SplitRows.split
  package static let splitV = SplitRows.splitV
  package static let slice = SliceRows.slice
  package static let reshape = ReshapeRows.reshape
  package static let transpose = TransposeRows.transpose
  package static let identity = [
    IdentityRows.identity, IdentityRows.snapshot, IdentityRows.stopGradient,
    IdentityRows.preventGradient,
  ]
  package static let zerosLike = FillRows.zerosLike
  package static let onesLike = FillRows.onesLike
  package static let noOp = [IdentityRows.noOp, IdentityRows.controlTrigger]
  package static let constant = ConstantRows.const
  package static let shape = ShapeRows.shape
  package static let stridedSlice = StridedSliceRows.stridedSlice
  package static let unsortedSegmentSum = unsortedSegmentSumRow
  package static let gather = GatherRows.gatherV2
  package static let resourceGather = VariableIndexRows.gather
  /// Those that fail for an index outside.
  package static let gathers = [
    GatherRows.gatherV2, GatherRows.gather1, VariableIndexRows.gather, ScatterRows.gatherTuples,
  ]
  package static let divisions = divisionRows
  package static let unique = UniqueRows.unique
  package static let countedUnique = UniqueRows.counted
  package static let less = lessRow
  package static let lessEqual = lessEqualRow
  package static let greater = greaterRow
  package static let greaterEqual = greaterEqualRow
  package static let logicalAnd = logicalAndRow
  package static let logicalNot = logicalNotRow
  package static let minimum = minimumRow
  package static let maximum = maximumRow
  package static let max = maxRow
  package static let selectRows = selectRow
  package static let selectElements = selectV2Row
  /// Those that only give another shape.
  package static let reshapes = [ReshapeRows.reshape, ReshapeRows.expandDims]

  /// Rows of tensor lists.
  package enum List {
    package static let empty = TensorListRows.empty
    package static let reserve = TensorListRows.reserve
    package static let fromTensor = TensorListWholeRows.fromTensor
    package static let pushBack = TensorListRows.pushBack
    package static let popBack = TensorListRows.popBack
    package static let setItem = TensorListRows.setItem
    package static let getItem = TensorListRows.getItem
    package static let length = TensorListRows.length
    package static let stack = TensorListWholeRows.stack
  }

  /// Rows of TensorFlow 1's tensor arrays.
  package enum Array {
    package static let make = TensorArrayRows.make
    package static let gradient = TensorArrayRows.grad
    package static let write = TensorArrayRows.write
    package static let read = TensorArrayRows.read
    package static let gather = TensorArrayRows.gather
    package static let scatter = TensorArrayRows.scatter
    package static let size = TensorArrayRows.size
    /// Those that use an array.
    package static let uses = TensorArrayRows.all.filter { $0 !== make }
  }

  /// Rows of TensorFlow 1's stacks.
  package enum Stack {
    package static let make = StackRows.make
    package static let push = StackRows.push
    package static let pop = StackRows.pop
  }
}
