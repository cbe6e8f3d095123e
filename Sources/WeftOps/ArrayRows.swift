// The op rows of the array families, in one list.

internal import WeftGraph

extension OpRegistry {
  static let arrayRows: [OpDef] =
    ConstantRows.all + IdentityRows.all + ShapeRows.all + ReshapeRows.all + ConcatRows.all
    + SplitRows.all + TransposeRows.all + SliceRows.all + StridedSliceRows.all + GatherRows.all
    + FillRows.all + TileRows.all + RangeRows.all + PadRows.all
    + UniqueRows.all + PartitionRows.all + ScatterRows.all + MatrixDiagRows.all
    + MatrixBandRows.all + SpaceDepthRows.all + SequenceRows.all + GuardRows.all
    + ResizeRows.all + RefusedRows.all
}
