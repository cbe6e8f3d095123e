// Sending rows to several tensors and back: DynamicPartition, DynamicStitch.

public import WeftGraph
internal import WeftKernels
internal import WeftTensors

enum PartitionRows {
  static let dynamicPartition = OpDef(
    "DynamicPartition", "data: T, partitions: int32 -> outputs: num_partitions * T",
    "num_partitions: int >= 1; T: type",
    summary: "The rows of its input, sorted into as many tensors as there are partitions.",
    traits: [.dataDependent],
    infer: { ctx in
      let count = try ctx.attrs.int("num_partitions")
      guard let prefix = ctx.shape(1).dims, let dims = ctx.shape(0).dims else {
        return Array(repeating: .unknown, count: count)
      }
      guard prefix.count <= dims.count,
        zip(prefix, dims).allSatisfy({ $0.isCompatible(with: $1) })
      else {
        throw ctx.error(
          "needs data whose shape starts as that of partitions: \(ctx.shape(0)) vs \(ctx.shape(1))")
      }
      let shape = Shape(dims: [.unknown] + dims.dropFirst(prefix.count))
      return Array(repeating: shape, count: count)
    },
    gradient: .rule { g in
      let data = g.input(0)
      let partitions = g.input(1)
      let shape = try partitions.shapeTensor()
      let zero = try g.graph.constant(integer: 0)
      let one = try g.graph.constant(integer: 1)
      let places = try range(zero, try size(partitions), one).reshaped(to: shape)
      let parts = try partition(
        places, partitions, count: try g.attrs.int("num_partitions"))
      let grads = try g.node.outputs.indices.map { try g.gradient($0) }
      let joined = try stitch(parts, grads)
      return [.dense(try joined.reshaped(to: try data.shapeTensor())), nil]
    },
    lowering: .kernel { ctx in
      let parts = ctx.outputs.count
      let ids = ctx.shape(1)
      let count = product(ids)
      let rest = Array(ctx.shape(0).dropFirst(ids.count))
      let dtype = ctx.dtype(0)
      let op = ctx.op.name
      @Sendable func target(_ ids: UnsafePointer<Int32>, _ i: Int, _ shape: [Int]) throws -> Int {
        let part = Int(ids[i])
        guard part >= 0, part < parts else {
          throw WeftError(
            .invalidArgument,
            "\(op) partitions\(GatherRows.position(i, shape)) = \(part) is not in [0, \(parts))",
            category: .run)
        }
        return part
      }
      if dtype == .string {
        let row = product(rest)
        return Kernel("partitionString") { call in
          let data = try stringInput(call, 0).strings
          let which = call.input(1, as: Int32.self)
          var all = [[[UInt8]]](repeating: [], count: parts)
          var sizes = [Int](repeating: 0, count: parts)
          for i in 0..<count {
            let part = try target(which, i, ids)
            all[part] += data[(i * row)..<((i + 1) * row)]
            sizes[part] += 1
          }
          for part in 0..<parts {
            call.setObject(
              try Tensor(strings: all[part], shape: [sizes[part]] + rest), output: part)
          }
        }
      }
      guard dtype.isPlain else { throw ctx.unsupported(dtype) }
      let rowBytes = product(rest) * dtype.byteSize
      var kernel = Kernel(
        ctx.kernelName("partition", dtype), scratchBytes: parts * 8
      ) { call in
        let which = call.input(1, as: Int32.self)
        let data = call.rawInput(0)
        let filled = call.scratch.bindMemory(to: Int.self, capacity: parts)
        filled.update(repeating: 0, count: parts)
        for i in 0..<count {
          let part = try target(which, i, ids)
          (call.rawOutput(part) + filled[part] &* rowBytes)
            .copyMemory(from: data + i &* rowBytes, byteCount: rowBytes)
          filled[part] &+= 1
        }
        for part in 0..<parts { call.setShape([filled[part]] + rest, output: part) }
      }
      kernel.bounds = Array(repeating: [count] + rest, count: parts)
      return kernel
    })

  private static func inferStitch(_ ctx: InferContext) throws -> [Shape] {
    let n = ctx.inputs.count / 2
    var most = -1
    var isKnown = true
    var rest = Shape.unknown
    for i in 0..<n {
      if let all = ctx.integers(i) {
        for index in all {
          guard index >= 0 else { throw ctx.error("has a negative index \(index)") }
          most = max(most, index)
        }
      } else {
        isKnown = false
      }
      guard let prefix = ctx.shape(i).dims, let dims = ctx.shape(n + i).dims else { continue }
      guard prefix.count <= dims.count,
        zip(prefix, dims).allSatisfy({ $0.isCompatible(with: $1) })
      else {
        throw ctx.error(
          "needs data[\(i)] whose shape starts as that of indices[\(i)]: \(ctx.shape(n + i)) vs "
            + "\(ctx.shape(i))")
      }
      let tail = Shape(dims: Array(dims.dropFirst(prefix.count)))
      guard let merged = rest.merged(with: tail) else {
        throw ctx.error("needs rows of one shape: \(rest) vs \(tail)")
      }
      rest = merged
    }
    return [Shape(dims: [isKnown ? .known(most + 1) : .unknown]).appending(rest)]
  }

  private static func lowerStitch(_ ctx: LowerContext) throws -> Kernel {
    let n = ctx.inputs.count / 2
    let counts = (0..<n).map { ctx.count($0) }
    let rest = Array(ctx.shape(n).dropFirst(ctx.shape(0).count))
    let row = product(rest)
    let dtype = ctx.dtype(n)
    let planned = ctx.outputs[0].shape.known?.first
    let op = ctx.op.name
    @Sendable func rows(_ call: borrowing KernelCall) throws -> Int {
      var most = -1
      for k in 0..<n {
        let ids = call.input(k, as: Int32.self)
        for i in 0..<counts[k] {
          let id = Int(ids[i])
          guard id >= 0, planned.map({ id < $0 }) ?? true else {
            throw WeftError(
              .invalidArgument, "\(op) indices[\(k)] holds \(id), which is out of range",
              category: .run)
          }
          most = max(most, id)
        }
      }
      return planned ?? most + 1
    }
    if dtype == .string {
      return Kernel("stitchString") { call in
        let size = try rows(call)
        var all = [[UInt8]](repeating: [], count: size * row)
        for k in 0..<n {
          let ids = call.input(k, as: Int32.self)
          let data = try stringInput(call, n + k).strings
          for i in 0..<counts[k] {
            for j in 0..<row { all[Int(ids[i]) * row + j] = data[i * row + j] }
          }
        }
        call.setObject(try Tensor(strings: all, shape: [size] + rest), output: 0)
      }
    }
    guard dtype.isPlain else { throw ctx.unsupported(dtype) }
    let rowBytes = row * dtype.byteSize
    return Kernel(ctx.kernelName("stitch", dtype)) { call in
      let size = try rows(call)
      var out = call.rawOutput(0)
      if planned == nil {
        let bytes = try Tensor.byteCount(dtype: dtype, shape: [size] + rest)
        let buffer = try Buffer(byteCount: bytes)
        out = buffer.base
        call.setObject(
          try Tensor(dtype: dtype, shape: [size] + rest, buffer: buffer), output: 0)
      }
      // Rows that no index names are zero.
      out.initializeMemory(as: UInt8.self, repeating: 0, count: size * rowBytes)
      for k in 0..<n {
        let ids = call.input(k, as: Int32.self)
        let data = call.rawInput(n + k)
        for i in 0..<counts[k] {
          (out + Int(ids[i]) &* rowBytes)
            .copyMemory(from: data + i &* rowBytes, byteCount: rowBytes)
        }
      }
    }
  }

  private static func stitchRow(_ name: String, _ summary: String) -> OpDef {
    OpDef(
      name, "indices: N * int32, data: N * T -> merged: T", "N: int >= 1; T: type",
      summary: summary, infer: { ctx in try inferStitch(ctx) },
      gradient: .rule { g in
        let n = g.inputCount / 2
        let dy = try g.gradient()
        return Array(repeating: nil, count: n)
          + (try (0..<n).map { .dense(try gather(dy, g.input($0))) })
      },
      lowering: .kernel { ctx in try lowerStitch(ctx) })
  }

  static let dynamicStitch = stitchRow(
    "DynamicStitch", "Rows of several tensors put where indices say; the last one wins.")
  static let parallelDynamicStitch = stitchRow(
    "ParallelDynamicStitch", "Rows of several tensors put where distinct indices say.")

  static let all = [dynamicPartition, dynamicStitch, parallelDynamicStitch]
}

/// The rows of `data` sorted into `count` tensors: row i goes to `partitions[i]`, in order.
///
/// Gradient: the parts' gradients put back. TensorFlow's DynamicPartition.
/// - Throws: InvalidArgument, in a run, for a partition outside `0 ..< count`.
public func partition(
  _ data: Output, _ partitions: Output, count: Int, name: String? = nil,
  file: StaticString = #fileID, line: UInt = #line
) throws -> [Output] {
  let node = try data.graph.add(
    PartitionRows.dynamicPartition.name, name: name, inputs: [data, partitions],
    attrs: ["num_partitions": .int(Int64(count))], file: file, line: line)
  return data.graph.outputs(of: node)
}

/// `y[indices[k][i]] = data[k][i]`, later ones winning. TensorFlow's DynamicStitch.
///
/// Gradient: dy gathered at the indices.
public func stitch(
  _ indices: [Output], _ data: [Output], name: String? = nil, file: StaticString = #fileID,
  line: UInt = #line
) throws -> Output {
  guard let graph = data.first?.graph, indices.count == data.count else {
    throw WeftError(.invalidArgument, "stitch needs as many indices as data, at least one")
  }
  return try graph.output(
    PartitionRows.dynamicStitch.name, name: name, inputs: indices + data, file: file, line: line)
}
