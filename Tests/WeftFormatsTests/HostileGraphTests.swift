// Graphs that contradict themselves: each a typed error that says where.

import Testing
import WeftGraph
import WeftTensors

@testable import WeftFormats

@Suite struct HostileGraphTests {
  private func expect(
    _ text: String, _ words: String..., code: WeftError.Code = .invalidArgument,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let error = weftError(sourceLocation) { try load(text) }
    let shown = error?.description ?? ""
    #expect(error?.code == code, sourceLocation: sourceLocation)
    for word in words {
      #expect(shown.contains(word), "\(shown)", sourceLocation: sourceLocation)
    }
  }

  @Test func structure() {
    expect(nodes(#"{"name":"a","op":"X"}"#, #"{"name":"a","op":"X"}"#), "two nodes", "$.node[1]")
    expect(
      nodes(#"{"name":"a","op":"X","input":["gone:1"]}"#), "gone:1", "a  (X)", "$.node[0].input[0]")
    expect(nodes(#"{"name":"a","op":"X","input":["^gone"]}"#), "^gone")
    expect(
      nodes(#"{"name":"a","op":"X","input":["b"]}"#, #"{"name":"b","op":"X","input":["a"]}"#),
      "cycle")
    expect(nodes(#"{"name":"a","op":"X","input":["a"]}"#), "cycle")
    expect(
      nodes(#"{"name":"a","op":"X"}"#, #"{"name":"b","op":"X","input":["^a","a"]}"#), "control",
      "$.node[1].input[1]")
    expect(nodes(#"{"name":"a b","op":"X"}"#), "not a valid node name", "$.node[0]")
    expect(nodes(#"{"op":"X"}"#), "not a valid node name")
    expect(
      nodes(#"{"name":"a","op":"X"}"#, #"{"name":"b","op":"X","input":["a:4611686018427387904"]}"#),
      "a:4611686018427387904")
  }

  @Test func loopsThroughNextIterationAreNoCycle() throws {
    try load(
      nodes(
        #"{"name":"m","op":"Merge","input":["e","n"]}"#, #"{"name":"e","op":"Enter"}"#,
        #"{"name":"n","op":"NextIteration","input":["m"]}"#))
  }

  @Test func outputShapesThatContradict() {
    let shape = #""shape":{"shape":{"dim":[{"size":"2"}]}},"dtype":{"type":"DT_FLOAT"}"#
    expect(
      nodes(
        #"{"name":"p","op":"Placeholder","attr":{\#(shape),"_output_shapes":{"list":{"shape":[{"dim":[{"size":"3"}]}]}}}}"#
      ),
      "_output_shapes", "p  (Placeholder)", "$.node[0]")
    expect(
      nodes(
        #"{"name":"p","op":"Placeholder","attr":{\#(shape),"_output_shapes":{"list":{"shape":[{},{}]}}}}"#
      ),
      "_output_shapes")
  }

  @Test func attributes() {
    expect(nodes(#"{"name":"p","op":"Placeholder"}"#), "attr 'dtype'", "$.node[0]")
    expect(nodes(#"{"name":"p","op":"Placeholder","attr":{"dtype":{"i":"1"}}}"#), "attr 'dtype'")
    expect(
      nodes(
        #"{"name":"p","op":"Placeholder","attr":{"dtype":{"type":"DT_FLOAT"},"shape":{"shape":{"dim":[{"size":"-2"}]}}}}"#
      ),
      "-2", "p  (Placeholder)", "$.node[0].attr.shape.shape.dim[0]")
    expect(
      nodes(
        #"{"name":"p","op":"Placeholder","attr":{"dtype":{"type":"DT_FLOAT"},"shape":{"shape":{"dim":[{"size":"4611686018427387904"},{"size":"4"}]}}}}"#
      ),
      "counted")
  }

  @Test func constants() {
    let at = "$.node[0].attr.value.tensor"
    expect(
      nodes(
        const(#"{"dtype":"DT_FLOAT","tensorShape":{"dim":[{"size":"2"}]},"tensorContent":"AAAA"}"#)),
      "3 bytes", "needs 8", at, "c  (Const)")
    expect(nodes(const(#"{"dtype":"DT_FLOAT","tensorShape":{"dim":[{"size":"-1"}]}}"#)), "-1", at)
    expect(nodes(const(#"{"dtype":"DT_FLOAT","tensorShape":{"unknownRank":true}}"#)), "rank", at)
    expect(
      nodes(
        const(
          #"{"dtype":"DT_FLOAT","tensorShape":{"dim":[{"size":"4294967296"},{"size":"4294967296"}]}}"#
        )),
      "counted", at)
    expect(
      nodes(
        const(#"{"dtype":"DT_FLOAT","tensorShape":{"dim":[{"size":"600000000"}]},"floatVal":[0]}"#)),
      "larger than", at, code: .resourceExhausted)
    expect(
      nodes(const(#"{"dtype":"DT_COMPLEX64","tensorShape":{},"scomplexVal":[1]}"#)), "pairs", at)
    expect(
      nodes(
        const(
          #"{"dtype":"DT_STRING","tensorShape":{"dim":[{"size":"1000000000"}]}}"#,
          dtype: "DT_STRING")),
      "unfold", at, code: .resourceExhausted)
  }

  @Test func manyLargeConstantsAreRefusedTogether() {
    let big = #"{"dtype":"DT_FLOAT","tensorShape":{"dim":[{"size":"70000000"}]},"floatVal":[0]}"#
    let all = (0..<4).map { const(big, name: "c\($0)") }
    expect("{\"node\":[" + all.joined(separator: ",") + "]}", "unfold", code: .resourceExhausted)
  }

  @Test func unknownBinaryFieldsAreAnError() throws {
    // Field 99 of a GraphDef that is otherwise whole.
    let graph = try GraphFile.encode(load(nodes(#"{"name":"a","op":"X"}"#)).snapshot, as: .binary)
    let error = weftError { _ = try GraphFile.decode(graph + [0x98, 6, 1], registry: noOps) }
    #expect(error?.message.contains("unknown fields") == true)
  }
}
