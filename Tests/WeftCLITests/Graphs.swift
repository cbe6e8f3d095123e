// Small graphs as files, written by hand so that reading them is tested too.

/// Graph files for tests.
enum Graphs {
  private static func node(
    _ name: String, _ op: String, _ inputs: [String] = [], _ attrs: String = ""
  ) -> String {
    let list = inputs.map { "\"\($0)\"" }.joined(separator: ", ")
    return
      "{\"name\": \"\(name)\", \"op\": \"\(op)\", \"input\": [\(list)], \"attr\": {\(attrs)}}"
  }

  static func type(_ key: String, _ name: String) -> String {
    "\"\(key)\": {\"type\": \"\(name)\"}"
  }

  static func shape(_ key: String, _ sizes: [Int]) -> String {
    let dims = sizes.map { "{\"size\": \"\($0)\"}" }.joined(separator: ", ")
    return "\"\(key)\": {\"shape\": {\"dim\": [\(dims)]}}"
  }

  static func constant(_ name: String, _ values: [Float], _ sizes: [Int] = []) -> String {
    let dims = sizes.map { "{\"size\": \"\($0)\"}" }.joined(separator: ", ")
    let list = values.map { "\($0)" }.joined(separator: ", ")
    let tensor =
      "{\"dtype\": \"DT_FLOAT\", \"tensorShape\": {\"dim\": [\(dims)]}, \"floatVal\": [\(list)]}"
    return node(
      name, "Const", [], type("dtype", "DT_FLOAT") + ", \"value\": {\"tensor\": \(tensor)}")
  }

  static func integers(_ name: String, _ values: [Int], _ sizes: [Int]) -> String {
    let dims = sizes.map { "{\"size\": \"\($0)\"}" }.joined(separator: ", ")
    let list = values.map { "\($0)" }.joined(separator: ", ")
    let tensor =
      "{\"dtype\": \"DT_INT32\", \"tensorShape\": {\"dim\": [\(dims)]}, \"intVal\": [\(list)]}"
    return node(
      name, "Const", [], type("dtype", "DT_INT32") + ", \"value\": {\"tensor\": \(tensor)}")
  }

  private static let float = type("T", "DT_FLOAT")
  private static let floatType = type("dtype", "DT_FLOAT")

  private static func graphDef(_ nodes: [String]) -> String {
    "{\"node\": [\n" + nodes.joined(separator: ",\n")
      + "\n], \"versions\": {\"producer\": 2000}}\n"
  }

  /// `y = x + x`, `scope/z = y * 3`, a lookup `row` of row `i`, and a node of an unknown op.
  static let arithmetic = graphDef([
    node("x", "Placeholder", [], floatType + ", " + shape("shape", [-1, 2])),
    node("i", "Placeholder", [], type("dtype", "DT_INT32") + ", " + shape("shape", [])),
    node("y", "AddV2", ["x", "x"], float),
    constant("three", [3]),
    node("scope/z", "Mul", ["y", "three"], float),
    node("scope_z", "Identity", ["y"], float),
    node(
      "axis", "Const", [],
      type("dtype", "DT_INT32")
        + ", \"value\": {\"tensor\": {\"dtype\": \"DT_INT32\", \"tensorShape\": {}, \"intVal\": [0]}}"
    ),
    node(
      "row", "GatherV2", ["x", "i", "axis"],
      type("Tparams", "DT_FLOAT") + ", " + type("Tindices", "DT_INT32") + ", "
        + type("Taxis", "DT_INT32")),
    node("odd", "NobodyKnowsThisOp", ["x"]),
    node("odder", "NorThisOne", ["odd"]),
  ])

  /// A counter `count` that `add` adds `by` to, and a weight `w`; `init` sets both.
  static let counter = graphDef([
    constant("zero", [0]), constant("ones", [1, 1, 1], [3]),
    node("by", "Placeholder", [], floatType + ", " + shape("shape", [])),
    node(
      "count", "VarHandleOp", [],
      floatType + ", " + shape("shape", []) + ", \"shared_name\": {\"s\": \"Y291bnQ=\"}"),
    node(
      "w", "VarHandleOp", [],
      floatType + ", " + shape("shape", [3]) + ", \"shared_name\": {\"s\": \"dw==\"}"),
    node("set", "AssignVariableOp", ["count", "zero"], floatType),
    node("set_w", "AssignVariableOp", ["w", "ones"], floatType),
    node("init", "NoOp", ["^set", "^set_w"]),
    node("add", "AssignAddVariableOp", ["count", "by"], floatType),
    node("value", "ReadVariableOp", ["count", "^add"], floatType),
    node("peek", "ReadVariableOp", ["count"], floatType),
    node("weights", "ReadVariableOp", ["w"], floatType),
  ])

  /// Least squares with a little noise in each step: signatures `init`, `train`, `evaluate`.
  static let regression: String = {
    let graph = graphDef([
      node("x", "Placeholder", [], floatType + ", " + shape("shape", [-1, 2])),
      node("t", "Placeholder", [], floatType + ", " + shape("shape", [-1, 1])),
      constant("start", [0, 0], [2, 1]),
      node(
        "w", "VarHandleOp", [],
        floatType + ", " + shape("shape", [2, 1]) + ", \"shared_name\": {\"s\": \"dw==\"}"),
      node("w/Assign", "AssignVariableOp", ["w", "start"], floatType),
      node("w/Read", "ReadVariableOp", ["w"], floatType),
      node("init", "NoOp", ["^w/Assign"]),
      node("prediction", "MatMul", ["x", "w/Read"], float),
      node("error", "Sub", ["prediction", "t"], float),
      node("square", "Square", ["error"], float),
      integers("both", [0, 1], [2]),
      node("loss", "Mean", ["square", "both"], float + ", " + type("Tidx", "DT_INT32")),
      node("slope", "MatMul", ["x", "error"], float + ", \"transpose_a\": {\"b\": true}"),
      integers("noise/shape", [2, 1], [2]),
      node(
        "noise", "RandomUniform", ["noise/shape"],
        floatType + ", " + type("T", "DT_INT32")),
      node("noisy", "AddV2", ["slope", "noise"], float),
      constant("rate", [0.01]),
      node("train_op", "ResourceApplyGradientDescent", ["w", "rate", "noisy"], float),
    ])
    func info(_ name: String) -> String { "{\"name\": \"\(name)\", \"dtype\": \"DT_FLOAT\"}" }
    let inputs = "\"inputs\": {\"x\": \(info("x:0")), \"t\": \(info("t:0"))}"
    return """
      {"graphDef": \(graph),
       "signatureDef": {
        "init": {"outputs": {"init": {"name": "init"}}},
        "train": {\(inputs), "outputs": {"loss": \(info("loss:0")),
          "train_op": {"name": "train_op"}}},
        "evaluate": {\(inputs), "outputs": {"loss": \(info("loss:0"))}}}}
      """
  }()
}
