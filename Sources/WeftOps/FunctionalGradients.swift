// Gradients of calls, conditionals and loops over functions: new functions in the library.

internal import WeftGraph
internal import WeftTensors

enum FunctionalGradients {
  static func call(_ g: GradientContext) throws -> [Gradient?] {
    throw WeftError(.unimplemented, "gradients of \(g.node.op) are not known")
  }
  static func conditional(_ g: GradientContext) throws -> [Gradient?] {
    throw WeftError(.unimplemented, "gradients of \(g.node.op) are not known")
  }
  static func loop(_ g: GradientContext) throws -> [Gradient?] {
    throw WeftError(.unimplemented, "gradients of \(g.node.op) are not known")
  }
}
