// The op rows of the state families, in one list.

internal import WeftGraph

extension OpRegistry {
  static let stateRows: [OpDef] = Array(
    [
      VariableRows.all, ReferenceRows.all, VariableIndexRows.resource,
      VariableIndexRows.reference, OptimizerRows.all, OptimizerRows.sparse, RandomRows.all,
      SoftmaxRows.all, CrossEntropyRows.all, BiasRows.all, ActivationRows.all, TopKRows.all,
      ConvolutionRows.all, DepthwiseRows.all, PoolingRows.all, NormalizationRows.all,
      BlockCellRows.all,
    ].joined())
}
