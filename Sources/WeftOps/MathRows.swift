// The op rows of the math families, in one list.

internal import WeftGraph

extension OpRegistry {
  static let mathRows: [OpDef] =
    unaryRows + exponentialRows + trigonometryRows + binaryRows + divisionRows + powerRows
    + elementwiseGradRows + bitwiseRows + comparisonRows + selectRows + [castOpRow] + sumRows
    + reductionRows + reductionArgRows + matMulRows + unsortedSegmentRows
    + sortedSegmentRows + histogramRows + linearAlgebraRows + [einsumRow]
}
