// Tensor lists and whole tensors: stack, concat, split, gather, scatter; sizes of lists.

internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

enum TensorListWholeRows {
  static let fromTensor = TensorListRows.list(
    "TensorListFromTensor",
    "tensor: element_dtype, element_shape: shape_type -> output_handle: variant",
    TensorListRows.shaped, "The rows of a tensor as a list.",
    shape: { ctx in
      let dims = try ctx.shape(0, rankAtLeast: 1)
      let rows = dims.map { Shape(dims: Array($0.dropFirst())) } ?? .unknown
      return try ctx.elementShape(try ctx.statedShape(1), rows)
    },
    gradient: .rule { g in try TensorListGradients.fromTensor(g) },
    lower: { ctx in
      let element = ElementSource(ctx, 0)
      let shape = ShapeSource(ctx, 1)
      let rows = Array(ctx.shape(0).dropFirst())
      guard let count = ctx.shape(0).first else { throw ctx.error("needs a tensor with rows") }
      return Kernel("listOfRows") { call in
        guard let tensor = try element.read(call) as? Tensor else {
          throw shape.failure("has no tensor")
        }
        _ = try TensorListRows.checked(count, shape.failure)
        let stated = try shape.read(call)
        guard stated.isCompatible(with: Shape(rows)) else {
          throw shape.failure("rows of shape \(rows) are no elements of shape \(stated)")
        }
        let all = try (0..<count).map {
          try Rows.slice(tensor, first: $0, count: 1, shape: rows) as any Sendable
        }
        call.setObject(ListValue(element.dtype, stated, elements: all), output: 0)
      }.storing(.making(ctx.storedBytes(partsOf: 0, count: ctx.shape(0).first)))
    })

  static let stack = OpDef(
    "TensorListStack", "input_handle: variant, element_shape: int32 -> tensor: element_dtype",
    "element_dtype: type; num_elements: int = -1",
    summary: "All elements as the rows of one tensor.",
    infer: { ctx in
      let shape = try ctx.elementShape(ctx.listShape(0), try ctx.statedShape(1))
      let count = try ctx.attrs.int("num_elements")
      return [Shape(dims: [Dim(count)]).appending(shape)]
    },
    gradient: .rule { g in try TensorListGradients.stack(g) },
    lowering: .kernel { ctx in
      let source = try ListSource(ctx)
      let (shape, target) = (ShapeSource(ctx, 1), ElementTarget(ctx, 0))
      let wanted = try ctx.attrs.int("num_elements")
      // What is known of the elements, for a list of none.
      let known = ctx.outputs[0].shape.dims.map { Shape(dims: Array($0.dropFirst())) } ?? .unknown
      return Kernel("stackList") { call in
        let list = try source.read(call)
        guard wanted < 0 || wanted == list.count else {
          throw source.failure("expects \(wanted) elements, the list has \(list.count)")
        }
        let stated = try shape.read(call)
        let (tensors, sizes) = try source.tensors(
          list, list.count == 0 ? stated.merged(with: known) ?? stated : stated)
        try target.write(call, try Rows.stack(tensors, list.dtype, sizes))
      }
    })

  private static func concat(
    _ name: String, _ arguments: String, _ attributes: String, shape: Int?
  ) -> OpDef {
    OpDef(
      name, arguments, attributes,
      summary: "All elements one after the other, and how many rows each has.",
      infer: { ctx in
        let stated = try shape.map { try ctx.statedShape($0) } ?? ctx.attrs.shape("element_shape")
        let dims = stated.merged(with: ctx.listShape(0))?.dims
        let rows = dims.map { Shape(dims: [.unknown] + $0.dropFirst()) } ?? .unknown
        return [rows, Shape(unknownOfRank: 1)]
      },
      gradient: .rule { g in try TensorListGradients.concat(g) },
      lowering: .kernel { ctx in
        let source = try ListSource(ctx)
        let (target, lengths) = (ElementTarget(ctx, 0), ElementTarget(ctx, 1))
        let given = try shape == nil ? ctx.attrs.shape("element_shape") : .unknown
        let stated = shape.map { ShapeSource(ctx, $0) }
        let leading = shape == nil ? 0 : ctx.count(2)
        return Kernel("concatList") { call in
          let list = try source.read(call)
          let wanted = try stated?.read(call) ?? given
          // Only the first size may differ between elements.
          let rest = wanted.dims.map { Shape(dims: Array($0.dropFirst())) } ?? .unknown
          let rows = leading > 0 ? call.integers(2, .int64, count: leading) : []
          var tensors: [Tensor] = []
          var inner = list.elementShape.dims.map { Shape(dims: Array($0.dropFirst())) } ?? .unknown
          inner = inner.merged(with: rest) ?? inner
          for (index, element) in list.elements.enumerated() {
            if let tensor = element as? Tensor {
              guard !tensor.shape.isEmpty,
                let merged = inner.merged(with: Shape(Array(tensor.shape.dropFirst())))
              else {
                throw source.failure("cannot join an element of shape \(tensor.shape) to \(inner)")
              }
              inner = merged
              tensors.append(tensor)
            } else {
              let first = rows.indices.contains(index) ? rows[index] : wanted.dims?.first?.size
              guard let first, first >= 0, let sizes = inner.known else {
                throw source.failure("reads element \(index), which is not set")
              }
              tensors.append(try Tensor.zeros(list.dtype, [first] + sizes))
            }
          }
          guard let sizes = inner.known else {
            throw source.failure("of an empty list cannot know the shape \(inner)")
          }
          let total = tensors.reduce(0) { $0 + $1.shape[0] }
          try target.write(call, try Rows.joined(tensors, list.dtype, [total] + sizes))
          try lengths.write(call, try Tensor(tensors.map { Int64($0.shape[0]) }))
        }
      })
  }

  static let concatV2 = concat(
    "TensorListConcatV2",
    "input_handle: variant, element_shape: shape_type, leading_dims: int64 -> "
      + "tensor: element_dtype, lengths: int64", TensorListRows.shaped, shape: 1)
  static let concatV1 = concat(
    "TensorListConcat", "input_handle: variant -> tensor: element_dtype, lengths: int64",
    "element_dtype: type; element_shape: shape = <unknown>", shape: nil)

  static let split = TensorListRows.list(
    "TensorListSplit",
    "tensor: element_dtype, element_shape: shape_type, lengths: int64 -> output_handle: variant",
    TensorListRows.shaped, "A tensor cut along its first dimension into elements of these lengths.",
    shape: { ctx in
      let dims = try ctx.shape(0, rankAtLeast: 1)
      let rows = dims.map { Shape(dims: [.unknown] + $0.dropFirst()) } ?? .unknown
      return try ctx.elementShape(try ctx.statedShape(1), rows)
    },
    gradient: .rule { g in try TensorListGradients.split(g) },
    lower: { ctx in
      let element = ElementSource(ctx, 0)
      let shape = ShapeSource(ctx, 1)
      let parts = ctx.count(2)
      guard let rows = ctx.shape(0).first else { throw ctx.error("needs a tensor with rows") }
      let inner = Array(ctx.shape(0).dropFirst())
      return Kernel("splitList") { call in
        guard let tensor = try element.read(call) as? Tensor else {
          throw shape.failure("has no tensor")
        }
        let lengths = call.integers(2, .int64, count: parts)
        let stated = try shape.read(call)
        var all: [(any Sendable)?] = []
        var at = 0
        for length in lengths {
          guard length >= 0, length <= rows - at else {
            throw shape.failure("lengths \(lengths.prefix(20)) do not add up to \(rows) rows")
          }
          all.append(
            try Rows.slice(tensor, first: at, count: length, shape: [length] + inner))
          at += length
        }
        guard at == rows else {
          throw shape.failure("lengths add up to \(at), the tensor has \(rows) rows")
        }
        call.setObject(ListValue(element.dtype, stated, elements: all), output: 0)
      }.storing(.making(ctx.storedBytes(partsOf: 0, count: ctx.shape(2).first)))
    })

  static let gather = OpDef(
    "TensorListGather",
    "input_handle: variant, indices: int32, element_shape: int32 -> values: element_dtype",
    "element_dtype: type", summary: "The elements at indices as the rows of one tensor.",
    infer: { ctx in
      let dims = try ctx.shape(1, rank: 1)
      return [
        Shape(dims: dims).appending(
          try ctx.elementShape(ctx.listShape(0), try ctx.statedShape(2)))
      ]
    },
    gradient: .rule { g in try TensorListGradients.gather(g) },
    lowering: .kernel { ctx in
      let source = try ListSource(ctx)
      let (shape, target) = (ShapeSource(ctx, 2), ElementTarget(ctx, 0))
      let count = ctx.count(1)
      return Kernel("gatherList") { call in
        let list = try source.read(call)
        let picked = try call.integers(1, .int32, count: count).map { index in
          guard index >= 0, index < list.count else {
            throw source.failure("index \(index) is not in a list of \(list.count) elements")
          }
          return list[index]
        }
        let some = ListValue(list.dtype, list.elementShape, elements: picked)
        let (tensors, sizes) = try source.tensors(some, try shape.read(call))
        try target.write(call, try Rows.stack(tensors, list.dtype, sizes))
      }
    })

  // Rows of input 0 go to the places that input 1 says.
  private static func scatter(
    _ name: String, _ arguments: String, size: Int?
  ) -> OpDef {
    TensorListRows.list(
      name, arguments, TensorListRows.shaped, "A list with the rows of a tensor at indices.",
      shape: { ctx in
        let dims = try ctx.shape(0, rankAtLeast: 1)
        let rows = dims.map { Shape(dims: Array($0.dropFirst())) } ?? .unknown
        return try ctx.elementShape(try ctx.statedShape(2), rows)
      },
      gradient: .rule { g in try TensorListGradients.scatter(g) },
      lower: { ctx in
        let element = ElementSource(ctx, 0)
        let shape = ShapeSource(ctx, 2)
        let count = ctx.count(1)
        guard ctx.shape(0).first == count else {
          throw ctx.error("needs a row for each of \(count) indices, got shape \(ctx.shape(0))")
        }
        let rows = Array(ctx.shape(0).dropFirst())
        return Kernel("scatterList") { call in
          guard let tensor = try element.read(call) as? Tensor else {
            throw shape.failure("has no tensor")
          }
          let indices = call.integers(1, .int32, count: count)
          var length = (indices.max() ?? -1) + 1
          if let size {
            let wanted = Int(call.input(size, as: Int32.self)[0])
            if wanted >= 0 { length = wanted }
          }
          var all = [(any Sendable)?](
            repeating: nil, count: try TensorListRows.checked(length, shape.failure))
          for (row, index) in indices.enumerated() {
            guard all.indices.contains(index) else {
              throw shape.failure("index \(index) is not in a list of \(length) elements")
            }
            all[index] = try Rows.slice(tensor, first: row, count: 1, shape: rows)
          }
          let list = ListValue(element.dtype, try shape.read(call), elements: all)
          call.setObject(list, output: 0)
        }.storing(
          .making(
            ctx.storedBytes(partsOf: 0, count: ctx.shape(0).first),
            places: ctx.storedPlaces(upTo: 1)))
      })
  }

  static let scatterV1 = scatter(
    "TensorListScatter",
    "tensor: element_dtype, indices: int32, element_shape: shape_type -> output_handle: variant",
    size: nil)
  static let scatterV2 = scatter(
    "TensorListScatterV2",
    "tensor: element_dtype, indices: int32, element_shape: shape_type, num_elements: int32 -> "
      + "output_handle: variant", size: 3)

  static let scatterInto = TensorListRows.list(
    "TensorListScatterIntoExistingList",
    "input_handle: variant, tensor: element_dtype, indices: int32 -> output_handle: variant",
    "element_dtype: type", "The list with the rows of a tensor at indices.",
    shape: { $0.listShape(0) },
    gradient: .rule { g in try TensorListGradients.scatterInto(g) },
    lower: { ctx in
      let source = try ListSource(ctx)
      let element = ElementSource(ctx, 1)
      let count = ctx.count(2)
      guard ctx.shape(1).first == count else {
        throw ctx.error("needs a row for each of \(count) indices, got shape \(ctx.shape(1))")
      }
      let rows = Array(ctx.shape(1).dropFirst())
      return Kernel("scatterIntoList") { call in
        var list = try source.read(call)
        guard let tensor = try element.read(call) as? Tensor else {
          throw source.failure("has no tensor")
        }
        let indices = call.integers(2, .int32, count: count)
        if let last = indices.max(), last >= list.count {
          list = list.resized(to: try TensorListRows.checked(last + 1, source.failure))
        }
        for (row, index) in indices.enumerated() {
          guard index >= 0 else { throw source.failure("index \(index) is negative") }
          list = list.setting(
            index, try Rows.slice(tensor, first: row, count: 1, shape: rows))
        }
        call.setObject(list, output: 0)
      }.storing(
        .adding(
          ctx.storedBytes(partsOf: 1, count: ctx.shape(1).first).flatMap { bytes in
            ctx.storedPlaces(upTo: 2).map { bytes + $0 }
          }, into: 0))
    })

  static let resize = OpDef(
    "TensorListResize", "input_handle: variant, size: int32 -> output_handle: variant",
    summary: "The list with size elements: cut, or with elements that are not set behind.",
    infer: { _ in [.scalar] }, handles: { ctx in [ctx.handle(0)] },
    gradient: .rule { g in try TensorListGradients.resize(g) },
    lowering: .kernel { ctx in
      let source = try ListSource(ctx)
      return Kernel("resizeList") { call in
        let size = try TensorListRows.checked(
          Int(call.input(1, as: Int32.self)[0]), source.failure)
        call.setObject(try source.read(call).resized(to: size), output: 0)
      }.storing(.resizing(0, places: ctx.storedPlaces(1)))
    })

  static let elementShape = OpDef(
    "TensorListElementShape", "input_handle: variant -> element_shape: shape_type",
    "shape_type: {int32, int64}",
    summary: "The shape that all elements have, -1 for sizes that are not known.",
    infer: { ctx in
      [ctx.listShape(0).rank.map { Shape([$0]) } ?? .unknown]
    },
    value: { ctx in ctx.listShape(0).dims },
    gradient: .zero,
    lowering: .kernel { ctx in
      let source = try ListSource(ctx)
      let target = ElementTarget(ctx, 0)
      let rank = ctx.outputs[0].shape.known?.first
      let wide = ctx.outputs[0].dtype == .int64
      return Kernel("shapeOfElements") { call in
        let list = try source.read(call)
        var shape = list.elementShape
        if let first = list.elements.lazy.compactMap({ $0 as? Tensor }).first {
          if shape.dims == nil { shape = Shape(unknownOfRank: first.shape.count) }
        } else if shape.dims == nil, let rank {
          shape = Shape(unknownOfRank: rank)
        }
        let sizes = shape.dims?.map { $0.size ?? -1 } ?? [-1]
        let form = shape.dims == nil ? [] : [sizes.count]
        let value =
          try wide
          ? Tensor(sizes.map { Int64($0) }, shape: form)
          : Tensor(sizes.map { Int32(truncatingIfNeeded: $0) }, shape: form)
        try target.write(call, value)
      }
    })

  static let concatLists = TensorListRows.list(
    "TensorListConcatLists", "input_a: variant, input_b: variant -> output: variant",
    "element_dtype: type", "The elements of one list, then those of the other.",
    shape: { ctx in ctx.listShape(0).merged(with: ctx.listShape(1)) ?? .unknown },
    gradient: .none("TensorFlow gives it none"),
    lower: { ctx in
      let (a, b) = (try ListSource(ctx, 0), try ListSource(ctx, 1))
      return Kernel("joinLists") { call in
        let (first, second) = (try a.read(call), try b.read(call))
        _ = try TensorListRows.checked(first.count + second.count, a.failure)
        call.setObject(
          ListValue(
            first.dtype, first.elementShape, elements: first.elements + second.elements),
          output: 0)
      }.storing(.addingList(of: 1, into: 0))
    })

  static let all = [
    fromTensor, stack, concatV2, concatV1, split, gather, scatterV1, scatterV2, scatterInto, resize,
    elementShape, concatLists,
  ]
}
