// JSON: where errors are, what is accepted, how it is laid out.

import Testing
import WeftGraph
import WeftTensors

@testable import WeftFormats

@Suite struct JSONTests {
  private func details(_ error: WeftError?) -> String { error?.description ?? "" }

  @Test func syntaxErrorsHaveLines() {
    let cases: [(String, Int, String)] = [
      ("{\"node\": [\n {\"name\": \"a\", \"op\"", 2, "truncated"),
      ("{\n\"node\": [\n\n", 4, "truncated"),
      ("{\"node\": \"abc", 1, "truncated"),
      ("{\"node\": []\n,}", 2, "a key in double quotes"),
      ("{\"node\": [1 2]}", 1, "a comma or ']'"),
      ("{\"node\": []} x", 1, "after the end"),
      ("{\"node\": NaN}", 1, "a value is expected"),
      ("{\"node\": 01}", 1, "start with a zero"),
      ("{\"node\" []}", 1, "a colon"),
      ("{\"a\": \"\\x\"}", 1, "no escape"),
      ("{\"a\": \"\\ud800\"}", 1, "surrogate"),
      ("{\"a\":\n\"tab\there\"}", 2, "control character"),
    ]
    for (text, line, words) in cases {
      let error = #expect(throws: FormatError.self) { try GraphDocument.decode(Array(text.utf8)) }
      #expect(error?.line == line, "\(text)")
      #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }
  }

  @Test func badUTF8HasAnOffset() {
    let bytes = Array("{\"node\":[\n{\"name\":\"".utf8) + [0xC0, 0x80] + Array("\"}]}".utf8)
    let error = #expect(throws: FormatError.self) { try GraphDocument.decode(bytes) }
    #expect(error?.line == 2)
    #expect(error?.column == 10)
    #expect(error?.message.contains("byte offset 19") == true)
  }

  @Test func aMillionLevelsAreAnError() {
    for open in ["[", "{\"a\":", "[[{\"a\":["] {
      let text = "{\"node\":" + String(repeating: open, count: 1_000_000)
      let error = #expect(throws: FormatError.self) { try GraphDocument.decode(Array(text.utf8)) }
      #expect(error?.kind == .limit)
    }
  }

  @Test func deepFunctionsAreAnError() {
    var attr = #"{"i":"1"}"#
    for _ in 0..<60 { attr = #"{"func":{"name":"f","attr":{"a":\#(attr)}}}"# }
    let error = weftError { try load(nodes(#"{"name":"n","op":"X","attr":{"a":\#(attr)}}"#)) }
    #expect(error?.code == .resourceExhausted)
  }

  @Test func schemaErrorsHavePaths() {
    let cases: [(String, String, String)] = [
      (
        nodes(#"{"name":"a","op":"X"}"#, #"{"name":"b","op":"X","colour":1}"#),
        "$.node[1].colour", "NodeDef has no field \"colour\""
      ),
      (
        nodes(#"{"name":"a","op":"X","attr":{"T":{"type":"DT_FLOOT"}}}"#),
        "$.node[0].attr.T.type", "enum"
      ),
      (
        nodes(#"{"name":"a","op":"X","attr":{"a/b":{"i":"1x"}}}"#),
        "$.node[0].attr[\"a/b\"].i", "number"
      ),
      (nodes(#"{"name":7,"op":"X"}"#), "$.node[0].name", "string"),
      (nodes(#"{"name":"a","op":"X","input":["b",3]}"#), "$.node[0].input[1]", "string"),
      (
        nodes(##"{"name":"a","op":"X","attr":{"s":{"s":"#!#!"}}}"##), "$.node[0].attr.s.s", "base64"
      ),
      (
        nodes(#"{"name":"a","op":"X","attr":{"s":{"i":"1","b":true}}}"#), "$.node[0].attr.s",
        "two values"
      ),
      (nodes("null"), "$.node[0]", "null"),
      (#"{"graphDef":{"node":[]},"node":[]}"#, "$.node", "MetaGraphDef has no field"),
      (
        #"{"graphDef":{},"signatureDef":{"run":{"inputs":{"x":{"nam":"y"}}}}}"#,
        "$.signatureDef.run.inputs.x.nam", "TensorInfo has no field"
      ),
    ]
    for (text, path, words) in cases {
      let error = #expect(throws: FormatError.self) { try GraphDocument.decode(Array(text.utf8)) }
      #expect(error?.jsonPath == path, "\(text)")
      #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }
  }

  @Test func aSchemaErrorNamesItsNodeAndLine() {
    let error = weftError {
      try load(nodes(#"{"name":"a","op":"X"}"#, #"{"name":"scope/b","op":"X","opp":1}"#))
    }
    #expect(details(error).contains("scope/b"))
    #expect(details(error).contains("$.node[1].opp"))
    #expect(details(error).contains("line 2"))
  }

  @Test func repeatedKeysAreAnError() {
    let many = (0..<40).map { #""k\#($0)":{"i":"1"}"# }.joined(separator: ",")
    for attr in [
      #""T":{"i":"1"},"T":{"i":"2"}"#, #""T":{"i":"1"},"\u0054":{"i":"2"}"#, many + #","k3":{}"#,
    ] {
      let text = nodes(#"{"name":"a","op":"X","attr":{\#(attr)}}"#)
      let error = #expect(throws: FormatError.self) { try GraphDocument.decode(Array(text.utf8)) }
      #expect(error?.kind == .duplicate)
      #expect(error?.jsonPath?.hasPrefix("$.node[0].attr") == true)
    }
  }

  @Test func everySpellingOfAGraphIsOneGraph() throws {
    let plain = nodes(
      #"{"name":"c","op":"Const","attr":{"dtype":{"type":"DT_FLOAT"},"value":{"tensor":{"dtype":"DT_FLOAT","tensorShape":{"dim":[{"size":"2"}]},"tensorContent":"AACAv///f38="}}}}"#
    )
    let spellings = [
      // Names as the schema has them, numbers for enums and sizes, null for defaults.
      #"{"node":[{"name":"c","op":"Const","input":null,"device":null,"attr":{"dtype":{"type":1},"value":{"tensor":{"dtype":1.0,"tensor_shape":{"dim":[{"size":2,"name":null}]},"tensor_content":"AACAv///f38="}}}}]}"#,
      // The URL alphabet without padding; whole floats; a byte order mark; other order.
      "\u{FEFF} \n\t"
        + #"{"node":[{"attr":{"value":{"tensor":{"tensorContent":"AACAv___f38","tensorShape":{"dim":[{"size":2.0}]},"dtype":"DT_FLOAT"}},"dtype":{"type":"DT_FLOAT"}},"op":"Const","name":"c"}]}"#,
      // Needless escapes, also in base64.
      #"{"node":[{"\u006eame":"\u0063","op":"C\u006fnst","attr":{"dtype":{"type":"DT_FLOAT"},"value":{"tensor":{"dtype":"DT_FLOAT","tensorShape":{"dim":[{"size":"2"}]},"tensorContent":"AACAv\/\/\/f38\u003d"}}}}]}"#,
      // Typed values instead of content.
      #"{"node":[{"name":"c","op":"Const","attr":{"dtype":{"type":"DT_FLOAT"},"value":{"tensor":{"dtype":"DT_FLOAT","tensorShape":{"dim":[{"size":"2"}]},"floatVal":[-1,3.4028234663852886e+38]}}}}]}"#,
      #"{"node":[{"name":"c","op":"Const","attr":{"dtype":{"type":"DT_FLOAT"},"value":{"tensor":{"dtype":"DT_FLOAT","tensorShape":{"dim":[{"size":"2"}]},"floatVal":["-1.0",3.4028235e+38]}}}}]}"#,
    ]
    let wanted = try GraphFile.encode(load(plain).snapshot, as: .json)
    for text in spellings {
      #expect(try GraphFile.encode(load(text).snapshot, as: .json) == wanted, "\(text)")
    }
  }

  @Test func specialFloatsPass() throws {
    let graph = try load(
      nodes(
        const(
          #"{"dtype":"DT_FLOAT","tensorShape":{"dim":[{"size":"4"}]},"floatVal":["NaN","Infinity","-Infinity",-0.0]}"#
        )))
    let values: [Float] = try #require(graph.constant(of: Edge(node: 0, port: 0))).array()
    #expect(values[0].isNaN)
    #expect(values[1] == .infinity)
    #expect(values[2] == -.infinity)
    #expect(values[3].sign == .minus)
  }

  @Test func oneNodeALine() throws {
    let text = String(
      decoding: try GraphFile.encode(load(smallMetaGraph).snapshot, as: .json), as: UTF8.self)
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.last == "" && lines.dropLast().last == "}")
    #expect(lines.allSatisfy { !$0.hasSuffix(" ") })
    for name in ["x", "scope/c", "many", "many2", "a", "b"] {
      let found = lines.filter { $0.contains("{\"name\":\"\(name)\",\"op\"") }
      #expect(found.count == 1, "\(name)")
      #expect(found.allSatisfy { $0.hasSuffix("}") || $0.hasSuffix("},") })
    }
    for key in ["metaInfoDef", "graphDef", "saverDef", "collectionDef", "signatureDef"] {
      #expect(lines.contains { $0.hasPrefix(" \"\(key)\": ") }, "\(key)")
    }
  }

  @Test func theLargestFloatIsWrittenForPython() throws {
    let text = nodes(
      #"{"name":"a","op":"X","attr":{"f":{"f":-3.4028235e+38},"d":{"tensor":{"dtype":"DT_DOUBLE","tensorShape":{},"doubleVal":[3.4028235e+38]}},"s":{"list":{"f":[3.4028235e+38,1]}},"k":{"func":{"name":"3.4028235e+38"}}}}"#
    )
    let out = String(
      decoding: try GraphFile.encode(load(text).snapshot, as: .json), as: UTF8.self)
    #expect(out.contains(#""f":{"f":-3.4028234663852886e+38}"#))
    #expect(out.contains(#"[3.4028234663852886e+38,1.0]"#))
    #expect(out.contains(#""doubleVal":[3.4028235e+38]"#))
    #expect(out.contains(#""name":"3.4028235e+38""#))
    #expect(try GraphFile.encode(load(out).snapshot, as: .json) == Array(out.utf8))
  }
}
