// Logic on the bits of integers.

public import WeftGraph
internal import WeftKernels

let bitwiseAndRow: OpDef = binaryRow(
  "BitwiseAnd", .bitwiseAnd, "int8, int16, int32, int64, uint8, uint16, uint32, uint64",
  traits: .commutative, summary: "The bits set in both.",
  rule: .none("integers have no gradient"))

/// The bits set in both x and y, elementwise with broadcasting (TensorFlow: `BitwiseAnd`).
public func bitwiseAnd(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try bitwiseAndRow.node([x, y], name, file, line) }

let bitwiseOrRow: OpDef = binaryRow(
  "BitwiseOr", .bitwiseOr, "int8, int16, int32, int64, uint8, uint16, uint32, uint64",
  traits: .commutative, summary: "The bits set in either.",
  rule: .none("integers have no gradient"))

/// The bits set in x or y, elementwise with broadcasting (TensorFlow: `BitwiseOr`).
public func bitwiseOr(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try bitwiseOrRow.node([x, y], name, file, line) }

let bitwiseXorRow: OpDef = binaryRow(
  "BitwiseXor", .bitwiseXor, "int8, int16, int32, int64, uint8, uint16, uint32, uint64",
  traits: .commutative, summary: "The bits set in one of both.",
  rule: .none("integers have no gradient"))

/// The bits set in exactly one of x and y, elementwise with broadcasting (TensorFlow: `BitwiseXor`).
public func bitwiseXor(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try bitwiseXorRow.node([x, y], name, file, line) }

let leftShiftRow: OpDef = binaryRow(
  "LeftShift", .leftShift, "int8, int16, int32, int64, uint8, uint16, uint32, uint64",
  summary: "x shifted left by y bits.",
  rule: .none("integers have no gradient"))

/// x shifted left by y bits; y is clamped to the width of the type (TensorFlow: `LeftShift`).
public func leftShift(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try leftShiftRow.node([x, y], name, file, line) }

let rightShiftRow: OpDef = binaryRow(
  "RightShift", .rightShift, "int8, int16, int32, int64, uint8, uint16, uint32, uint64",
  summary: "x shifted right by y bits.",
  rule: .none("integers have no gradient"))

/// x shifted right by y bits, filled with the sign; y is clamped to the width of the type (TensorFlow: `RightShift`).
public func rightShift(
  _ x: Output, _ y: Output, name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output { try rightShiftRow.node([x, y], name, file, line) }

let bitwiseNotRow: OpDef = unaryRow(
  "Invert", .bitwiseNot, "int8, int16, int32, int64, uint8, uint16, uint32, uint64",
  summary: "All bits flipped.", rule: .none("integers have no gradient"))

/// x with all bits flipped (TensorFlow: `Invert`).
public func bitwiseNot(
  _ x: Output, name: String? = nil, file: StaticString = #fileID, line: UInt = #line
) throws -> Output { try bitwiseNotRow.node([x], name, file, line) }

let bitwiseRows = [
  bitwiseAndRow, bitwiseOrRow, bitwiseXorRow, leftShiftRow, rightShiftRow, bitwiseNotRow,
]
