// What the tests of file formats share: a small registry, a small graph, errors, scratch files.

import Foundation
import Testing
import WeftGraph
import WeftTensors

@testable import WeftFormats

/// A few ops, so that these tests depend on no row of the library.
let testRegistry = OpRegistry([
  OpDef(
    "Placeholder", "-> output: dtype", "dtype: type; shape: shape = <unknown>",
    summary: "A fed value.", infer: { [try $0.attrs.shape("shape")] }, gradient: .zero,
    lowering: .placeholder),
  OpDef(
    "Const", "-> output: dtype", "value: tensor; dtype: type", summary: "A constant.",
    infer: { [Shape(try $0.attrs.tensor("value").shape)] }, gradient: .zero, lowering: .constant),
  OpDef(
    "Identity", "input: T -> output: T", "T: type", summary: "The input.",
    infer: { [$0.shape(0)] }, gradient: .zero, lowering: .refused("a test op")),
  OpDef(
    "VarHandleOp", "-> resource: resource", "dtype: type; shape: shape; shared_name: string = ''",
    summary: "A handle.", infer: { _ in [.scalar] }, gradient: .zero, lowering: .variable),
])

/// No op at all: every graph loads, whatever its ops.
let noOps = OpRegistry([])

/// A MetaGraphDef with something of everything.
let smallMetaGraph = #"""
  {"metaInfoDef":{"tags":["train"],"tensorflowVersion":"1.15.0"},
   "graphDef":{"node":[
     {"name":"x","op":"Placeholder","attr":{"dtype":{"type":"DT_FLOAT"},
       "shape":{"shape":{"dim":[{"size":"-1"},{"size":"3"}]}}}},
     {"name":"scope/c","op":"Const","device":"/cpu:0","attr":{"dtype":{"type":"DT_INT64"},
       "value":{"tensor":{"dtype":"DT_INT64","tensorShape":{"dim":[{"size":"2"}]},
       "int64Val":["5","9223372036854775807"]}}},
       "experimentalDebugInfo":{"originalNodeNames":["was/c"]},
       "experimentalType":{"typeId":"TFT_PRODUCT"}},
     {"name":"many","op":"Unheard","input":["x","scope/c:0","many2:3","^scope/c"],
       "attr":{"f":{"f":0.5},"big":{"f":3.4028235e+38},"nan":{"f":"NaN"},"b":{"b":false},
       "i":{"i":"-7"},"s":{"s":"bG9jOkBt"},"none":{"list":{}},
       "ints":{"list":{"i":["1","2"]}},"mixed":{"list":{"i":["1"],"b":[true]}},
       "any":{"shape":{"unknownRank":true}},"fn":{"func":{"name":"g","attr":{"T":{"placeholder":"T"}}}},
       "ref":{"type":"DT_FLOAT_REF"},"named":{"shape":{"dim":[{"size":"4","name":"rows"}]}},
       "symbol":{"shape":{"dim":[{"size":"-1","name":"batch"}]}}}},
     {"name":"many2","op":"Other"}],
    "library":{"function":[{"signature":{"name":"g"},"nodeDef":[{"name":"a","op":"NoOp"},
      {"name":"b","op":"NoOp","input":["^a"]}]}]},
    "versions":{"producer":134,"minConsumer":12}},
   "saverDef":{"filenameTensorName":"save/Const:0","maxToKeep":5},
   "collectionDef":{
     "names":{"nodeList":{"value":["x:0"]}},"steps":{"int64List":{"value":["3"]}},
     "rates":{"floatList":{"value":[0.25]}},"text":{"bytesList":{"value":["5pil","5pel"]}}},
   "signatureDef":{"run":{"inputs":{"a":{"name":"x:0","dtype":"DT_FLOAT",
       "tensorShape":{"dim":[{"size":"-1"},{"size":"3"}]}},
       "sparse":{"cooSparse":{"valuesTensorName":"v:0"}}},
     "outputs":{"y":{"name":"many:0","dtype":"DT_FLOAT","tensorShape":{}}},"methodName":"m"}},
   "assetFileDef":[{"filename":"words.txt"}]}
  """#

/// The error of something that must throw a WeftError.
func weftError(
  _ sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) -> WeftError? {
  do {
    try body()
    Issue.record("nothing was thrown", sourceLocation: sourceLocation)
  } catch let error as WeftError {
    return error
  } catch let error as FormatError {
    return error.weftError
  } catch {
    Issue.record("another error was thrown: \(error)", sourceLocation: sourceLocation)
  }
  return nil
}

/// Loads text of any form.
@discardableResult
func load(_ text: String, _ registry: OpRegistry = testRegistry) throws -> Graph {
  try GraphFile.decode(Array(text.utf8), registry: registry)
}

/// A GraphDef of nodes given as JSON.
func nodes(_ nodes: String...) -> String {
  "{\"node\":[" + nodes.joined(separator: ",\n") + "]}"
}

/// A Const node with this tensor.
func const(_ tensor: String, name: String = "c", dtype: String = "DT_FLOAT") -> String {
  #"{"name":"\#(name)","op":"Const","attr":{"dtype":{"type":"\#(dtype)"},"value":{"tensor":\#(tensor)}}}"#
}

/// A folder that is removed after `body`.
func withScratchFolder(_ body: (String) throws -> Void) throws {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
    "weft-\(UInt64.random(in: 0...UInt64.max))")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  try body(folder.path)
}

/// Files shared with the project's checkout; nil, with a message, where they are not there.
func sharedFolder(_ name: String) -> URL? {
  let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent(
      "shared/\(name)")
  guard FileManager.default.fileExists(atPath: url.path) else {
    print("skipped: \(url.path) is not there")
    return nil
  }
  return url
}
