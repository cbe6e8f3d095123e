// Windows over images: strides, dilations and padding as convolution and pooling share them.

internal import WeftGraph
internal import WeftKernels
internal import WeftTensors

/// How images lie and how windows move over them, from a node's attributes.
struct SpatialAttrs: Sendable {
  /// The number of spatial axes: 2 or 3.
  let rank: Int
  /// Whether the format is NCHW or NCDHW.
  let channelsFirst: Bool
  /// One for each spatial axis.
  let strides: [Int]
  let dilations: [Int]
  /// The window, for pooling.
  let window: [Int]
  private let padding: String
  private let explicit: [(before: Int, after: Int)]
  private let op: String

  /// Reads the attributes; those that an op does not have count as absent.
  init(_ attrs: Attrs, rank: Int, op: String) throws {
    func fail(_ message: String) -> WeftError {
      WeftError(.invalidArgument, "\(op) \(message)")
    }
    self.rank = rank
    self.op = op
    let format = attrs["data_format"]?.text ?? (rank == 2 ? "NHWC" : "NDHWC")
    guard format == "NHWC" || format == "NCHW" || format == "NDHWC" || format == "NCDHW" else {
      throw WeftError(.unimplemented, "\(op) has no kernel for data_format \(format)")
    }
    channelsFirst = format.hasPrefix("NC")
    let axes = channelsFirst ? Array(2..<(rank + 2)) : Array(1..<(rank + 1))
    let others = channelsFirst ? [0, 1] : [0, rank + 1]
    func list(_ name: String) throws -> [Int]? {
      guard attrs[name] != nil else { return nil }
      let all = try attrs.ints(name)
      guard all.count == rank + 2 else {
        throw fail("attr \(name) needs \(rank + 2) entries, got \(all)")
      }
      for axis in others where all[axis] != 1 {
        throw WeftError(
          .unimplemented, "\(op) attr \(name) = \(all) moves over batch or channels")
      }
      for axis in axes where all[axis] < 1 {
        throw fail("attr \(name) needs sizes > 0, got \(all)")
      }
      return axes.map { all[$0] }
    }
    strides = try list("strides") ?? Array(repeating: 1, count: rank)
    dilations = try list("dilations") ?? Array(repeating: 1, count: rank)
    window = try list("ksize") ?? []
    padding = try attrs.string("padding")
    var pairs: [(before: Int, after: Int)] = []
    if padding == "EXPLICIT" {
      let all = try attrs.ints("explicit_paddings")
      guard all.count == 2 * (rank + 2), all.allSatisfy({ $0 >= 0 && $0 <= Shape.countLimit }),
        others.allSatisfy({ all[2 * $0] == 0 && all[2 * $0 + 1] == 0 })
      else {
        throw fail("attr explicit_paddings needs \(2 * (rank + 2)) sizes >= 0, got \(all)")
      }
      pairs = axes.map { (all[2 * $0], all[2 * $0 + 1]) }
    }
    explicit = pairs
  }

  /// The spatial sizes of an image's shape.
  func spatial<Size>(_ shape: [Size]) -> [Size] {
    Array(channelsFirst ? shape[2...] : shape[1..<(rank + 1)])
  }
  /// The channels of an image's shape.
  func channels<Size>(_ shape: [Size]) -> Size { channelsFirst ? shape[1] : shape[rank + 1] }
  /// An image's shape.
  func image<Size>(_ batch: Size, _ spatial: [Size], _ channels: Size) -> [Size] {
    channelsFirst ? [batch, channels] + spatial : [batch] + spatial + [channels]
  }

  /// How the window of `kernel` elements moves along spatial axis `axis` of `input` elements.
  func axis(_ axis: Int, input: Int, kernel: Int) throws -> WindowAxis {
    let (stride, dilation) = (strides[axis], dilations[axis])
    let (span, overflow) = max(0, kernel - 1).multipliedReportingOverflow(by: dilation)
    guard !overflow, span < Int.max / 4, stride < Int.max / 4, kernel >= 1 || input == 0,
      input <= Shape.countLimit
    else {
      throw WeftError(
        .invalidArgument, "\(op) cannot use a window of \(kernel) with dilation \(dilation)")
    }
    let effective = span + 1
    var before = 0
    let output: Int
    switch padding {
    case "SAME":
      output = (input + stride - 1) / stride
      before = max(0, (output - 1) * stride + effective - input) / 2
    case "VALID":
      output = (input - effective + stride) / stride
    default:
      before = explicit[axis].before
      let padded = input + before + explicit[axis].after
      output = (padded - effective + stride) / stride
    }
    guard output >= 0 else {
      throw WeftError(
        .invalidArgument,
        "\(op) has a window of \(effective) on an axis of \(input) with \(padding) padding")
    }
    return WindowAxis(
      input: input, output: output, kernel: kernel, stride: stride, dilation: dilation,
      before: before)
  }

  /// The output size along an axis, as far as it is known.
  func outputDim(_ axis: Int, input: Dim, kernel: Dim) throws -> Dim {
    guard let input = input.size, let kernel = kernel.size else { return .unknown }
    return .known(try self.axis(axis, input: input, kernel: kernel).output)
  }
}
