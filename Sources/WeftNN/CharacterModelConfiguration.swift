// What a character model is made of, and the report's two models.

public import WeftTensors

/// The parts and sizes of a character model.
public struct CharacterModelConfiguration: Sendable {
  /// Whose variables a model has: names, layouts, initial values and gate formulas.
  public enum Form: String, Sendable, Hashable, CaseIterable {
    /// TensorFlow 1: `rnn/basic_lstm_cell/kernel`, ...
    case tensorflow
    /// Keras: `rnn/kernel`, `rnn/recurrent_kernel`, ...
    case keras
    /// PyTorch: `lstm.weight_ih_l0`, ...
    case pytorch
  }

  /// The recurrent cell.
  public var cell: CellKind
  /// Whose variables it has.
  public var form: Form
  /// Cells one above the other.
  public var layers = 1
  /// The width of the embedding.
  public var embeddingSize = 64
  /// The width of each layer's state.
  public var hiddenSize = 128
  /// Rows of the embedding and classes: the vocabulary with its spare rows.
  public var vocabularySize: Int
  /// The numbers of steps that train parts are unrolled to. The largest is the signature `train`,
  /// a smaller one T is `train_T`.
  public var widths: [Int]
  /// Texts in a batch; any number when nil.
  public var batchSize: Int?
  /// Whether a ReLU stands before the softmax.
  public var hasReLU = false
  /// How variables are updated.
  public var rule: any UpdateRule = Adam()
  /// The learning rate.
  public var learningRate = 1e-3
  /// How gradients are bounded.
  public var clipping = GradientClipping.none
  /// The standard deviation of the state that generation begins with; zero states when 0.
  public var generationStddev = 0.0
  /// Whether `train` also gives the predictions for a batch's first text.
  public var showsPrediction = false
  /// The element type of variables.
  public var dtype = DType.float32
  /// What the seeds of all random ops derive from.
  public var seed = 0

  /// A model with TensorFlow 1's cells, trained by Adam 1e-3.
  public init(
    cell: CellKind = .lstm, form: Form = .tensorflow, vocabularySize: Int, widths: [Int]
  ) {
    self.cell = cell
    self.form = form
    self.vocabularySize = vocabularySize
    self.widths = widths
  }

  /// The report's TensorFlow path: Keras's Embedding 64, SimpleRNN 128 and Dense; Adam 5e-4;
  /// generation from a random normal state of deviation 0.5.
  public static func reportTensorFlow(
    cell: CellKind = .rnn, vocabularySize: Int, widths: [Int]? = nil
  ) -> CharacterModelConfiguration {
    var result = CharacterModelConfiguration(
      cell: cell, form: .keras, vocabularySize: vocabularySize,
      widths: widths ?? usualWidths(upTo: 199))
    result.rule = Adam.keras()
    // Keras keeps its learning rate in float32, also where variables are float64.
    result.learningRate = Double(Float(5e-4))
    result.generationStddev = 0.5
    return result
  }

  /// The report's PyTorch path: Embedding 100, two layers of LSTM 128, Linear and ReLU; RMSprop
  /// 0.01 with gradients clipped to norm 1, or else Adam 1e-3.
  public static func reportPyTorch(
    cell: CellKind = .lstm, vocabularySize: Int, widths: [Int]? = nil, adam: Bool = false
  ) -> CharacterModelConfiguration {
    var result = CharacterModelConfiguration(
      cell: cell, form: .pytorch, vocabularySize: vocabularySize,
      widths: widths ?? usualWidths(upTo: 82))
    result.layers = 2
    result.embeddingSize = 100
    result.hasReLU = true
    result.rule = adam ? Adam() : RMSPropPyTorch()
    result.learningRate = adam ? 1e-3 : 0.01
    result.clipping = .globalNormPyTorch(1)
    result.showsPrediction = true
    return result
  }

  /// Widths that suit the lengths of regulated verse (four or eight lines of five or seven
  /// characters), and the largest.
  public static func usualWidths(upTo largest: Int) -> [Int] {
    let usual = [26, 34, 50, 66, 98].filter { $0 < largest }
    return usual + [largest]
  }

  /// The name of a signature of the part of `width` steps: `train`, or `train_26`.
  public func signatureName(_ verb: String, width: Int) -> String {
    width == widths.max() ? verb : "\(verb)_\(width)"
  }

  /// Throws InvalidArgument for sizes that make no model.
  func validate() throws(WeftError) {
    let sizes = [
      ("layers", layers, 64), ("embedding size", embeddingSize, 1 << 16),
      ("hidden size", hiddenSize, 1 << 16), ("vocabulary size", vocabularySize, 1 << 24),
      ("batch size", batchSize ?? 1, 1 << 24),
    ]
    for (label, value, most) in sizes where value < 1 || value > most {
      throw WeftError(
        .invalidArgument, "a model's \(label) must be in 1...\(most), not \(value)",
        category: .usage)
    }
    guard !widths.isEmpty, Set(widths).count == widths.count,
      widths.allSatisfy({ (1...100_000).contains($0) })
    else {
      throw WeftError(
        .invalidArgument, "a model needs different numbers of steps of 1...100000, not \(widths)",
        category: .usage)
    }
    guard dtype == .float32 || dtype == .float64 else {
      throw WeftError(
        .invalidArgument, "a model is float32 or float64, not \(dtype.name)", category: .usage)
    }
  }
}
