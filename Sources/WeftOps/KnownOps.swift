// Ops that the compiler's patterns name: the rows themselves, so that no pattern spells a name.

package import WeftGraph

/// Rows that passes look for.
package enum KnownOp {
  package static let matMul = matMulRow
  package static let biasAdd = [BiasRows.add, BiasRows.addV1]
  package static let biasAddGrad = BiasRows.grad
  package static let add = [addRow, legacyAddRow]
  package static let multiply = multiplyRow
  package static let addN = addNRow
  package static let sum = sumRow
  package static let relu = ActivationRows.relu
  package static let reluGrad = ActivationRows.reluGrad
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
}
