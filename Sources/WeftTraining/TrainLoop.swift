// The training loop: steps, epochs, evaluation, checkpoints, and going on from one.

internal import OrderedCollections
public import WeftGraph
public import WeftRuntime
public import WeftTensors

/// How long a training run goes on, and what it leaves behind.
public struct TrainingOptions: Sendable {
  /// Epochs in all, those before a resumption counted.
  public var epochs: Int?
  /// Steps in all; whichever limit comes first ends the run.
  public var steps: Int?
  /// The seed of random ops that have none of their own.
  public var seed: UInt64 = 0
  /// Threads; nil takes one for each core.
  public var threads: Int?
  /// Steps between checkpoints; nil saves at the end of each epoch.
  public var checkpointEvery: Int?
  /// How many checkpoints stay.
  public var checkpointsKept = 3
  /// The signature that training runs, or the first word of its forms.
  public var verb = "train"
  /// The default options: nothing but one epoch.
  public init() {}
}

/// Where a run stands after a step.
public struct TrainingProgress: Sendable {
  /// Steps done in all.
  public var step = 0
  /// The epoch, from 0.
  public var epoch = 0
  /// Steps done in this epoch.
  public var epochStep = 0
  /// Steps of an epoch.
  public var stepsPerEpoch = 0
  /// Steps there will be in all.
  public var totalSteps = 0
  /// The loss of the last batch.
  public var loss = Double.nan
  /// The mean loss of this epoch's batches.
  public var meanLoss = Double.nan
  /// Characters or examples per second, over the last steps.
  public var rate = 0.0
  /// Seconds that the rest will take at the pace so far.
  public var secondsLeft = 0.0
}

/// What evaluation on held-out data found.
public struct Evaluation: Sendable, Hashable {
  /// The sum over all positions.
  public var nats: Double
  /// The number of positions.
  public var count: Double
  /// Nats per character.
  public var natsPerUnit: Double { nats / count }
  /// The exponential of that.
  public var perplexity: Double { natsPerUnit.exponential }
}

/// What a training run tells while it runs.
public enum TrainingEvent: Sendable {
  /// A step is done; the values are the signature's outputs.
  case step(TrainingProgress, outputs: [(key: String, value: Tensor)], batch: TrainingBatch)
  /// An epoch is done.
  case epoch(TrainingProgress, evaluation: Evaluation?)
  /// A checkpoint is written.
  case checkpoint(step: Int, path: String)
}

/// Why a run ended.
public enum TrainingEnd: Sendable, Hashable {
  /// All epochs or steps are done.
  case finished
  /// Someone asked it to stop.
  case stopped
}

/// Trains a graph: runs its signature over batches until epochs or steps are done.
public final class TrainLoop {
  /// The session with the variables.
  public let session: Session
  /// How long it runs.
  public let options: TrainingOptions
  /// Where checkpoints go; nil: nowhere.
  public let directory: RunDirectory?
  /// Where it stands.
  public private(set) var progress = TrainingProgress()
  /// What the last evaluation found.
  public private(set) var evaluation: Evaluation?

  private var source: TrainingSource
  private let validation: TrainingSource?
  private var lossSum = 0.0
  private var saved: (step: Int, epoch: Int)?

  /// A loop before its first step.
  ///
  /// - Parameters:
  ///   - validation: held-out data for the signature `evaluate`.
  ///   - checkpoint: what to go on from, exactly; nil runs the initializers.
  ///   - start: values to begin with where there is nothing to go on from; the rest is initialized.
  /// - Throws: InvalidArgument when a checkpoint does not fit, FailedPrecondition when it belongs
  ///   to other data.
  public init(
    _ graph: GraphSnapshot, source: TrainingSource, validation: TrainingSource? = nil,
    options: TrainingOptions, directory: RunDirectory? = nil,
    resuming checkpoint: Checkpoint? = nil,
    startingFrom start: Checkpoint? = nil
  ) throws {
    self.source = source
    self.validation = validation
    self.directory = directory
    let saved = try checkpoint.map { try TrainingState(reading: $0) }
    var options = options
    if let saved { options.seed = saved.seed }
    if options.epochs == nil && options.steps == nil { options.epochs = 1 }
    self.options = options
    session = Session(graph, options: SessionOptions(threads: options.threads, seed: options.seed))
    if let checkpoint, let saved {
      try checkpoint.restore(into: session, fit: .exact)
      try self.source.resume(from: saved.batches)
      session.variables.drawCounts = saved.draws.sorted { $0.key < $1.key }.map {
        (name: $0.key, count: $0.value)
      }
      progress.step = saved.step
      self.saved = (saved.step, saved.batches.epoch)
      lossSum = saved.lossSum
    } else {
      if !graph.initializerNodes.isEmpty { try session.initialize() }
      try start?.restore(into: session)
    }
    updateProgress()
  }

  /// Trains until the end, or until `isStopping` says so after a step.
  ///
  /// A checkpoint is written at the end either way.
  /// - Parameter report: called on this thread after steps, epochs and checkpoints.
  public func run(
    isStopping: () -> Bool = { false }, report: (TrainingEvent) throws -> Void = { _ in }
  ) throws -> TrainingEnd {
    var pace = Pace(progress.step)
    var end = TrainingEnd.finished
    while !isDone {
      if isStopping() {
        end = .stopped
        break
      }
      guard let batch = try source.next() else {
        updateProgress()
        try finishEpoch(report)
        continue
      }
      let outputs = try step(batch)
      pace.add(batch.units)
      updateProgress()
      progress.rate = pace.rate
      progress.secondsLeft = pace.secondsLeft(progress)
      try report(.step(progress, outputs: outputs, batch: batch))
      if let every = options.checkpointEvery, every > 0, progress.step % every == 0 {
        try save(report)
      }
    }
    if end == .finished, progress.epochStep > 0, validation != nil { evaluation = try evaluate() }
    try save(report)
    return end
  }

  /// Held-out nats and positions; nil without validation data.
  public func evaluate() throws -> Evaluation? {
    guard var source = validation else { return nil }
    var result = Evaluation(nats: 0, count: 0)
    while let batch = try source.next() {
      let values = try session.run(
        batch.call.outputs.map(\.edge), feeds: batch.feeds,
        targets: batch.call.operations.map(\.node))
      func number(_ key: String) throws -> Double? {
        guard let index = batch.call.outputs.firstIndex(where: { $0.key == key }) else {
          return nil
        }
        return try values[index].number(key)
      }
      if let nats = try number("nats"), let count = try number("count") {
        result.nats += nats
        result.count += count
      } else if let loss = try number("loss") {
        result.nats += loss * Double(batch.units)
        result.count += Double(batch.units)
      } else {
        throw WeftError(
          .invalidArgument,
          "the signature '\(batch.call.name)' has no outputs 'nats' and 'count', nor 'loss'",
          category: .usage)
      }
    }
    return result
  }

  /// The seed of the run that wrote `checkpoint`; nil when no run did.
  public static func seed(of checkpoint: Checkpoint) -> UInt64? {
    (try? TrainingState(reading: checkpoint))?.seed
  }

  // MARK: - Parts

  private var isDone: Bool {
    if let steps = options.steps, progress.step >= steps { return true }
    guard let epochs = options.epochs else { return false }
    // The last epoch's end is still to be reported while its position is not zero.
    return source.state.epoch >= epochs
  }

  private func step(_ batch: TrainingBatch) throws -> [(key: String, value: Tensor)] {
    let values: [Tensor]
    do {
      values = try session.run(
        batch.call.outputs.map(\.edge), feeds: batch.feeds,
        targets: batch.call.operations.map(\.node))
    } catch let error as WeftError {
      throw error.adding("step", "\(progress.step + 1)")
    }
    let outputs = zip(batch.call.outputs, values).map { (key: $0.key, value: $1) }
    guard let loss = try outputs.first(where: { $0.key == "loss" })?.value.number("loss") else {
      throw WeftError(
        .invalidArgument, "the signature '\(batch.call.name)' has no output 'loss'",
        category: .usage)
    }
    progress.step += 1
    guard loss.isFinite else {
      let error = WeftError(
        .aborted, "the loss is \(loss) at step \(progress.step)", category: .run,
        hint: "a smaller learning rate or clipped gradients may help")
      guard let directory, let saved else { throw error }
      throw error.adding("last checkpoint", directory.checkpointPath(step: saved.step))
    }
    progress.loss = loss
    lossSum += loss
    return outputs
  }

  private func finishEpoch(_ report: (TrainingEvent) throws -> Void) throws {
    // The source already stands at the next epoch: what is reported is the one that ended.
    var ended = progress
    ended.epoch -= 1
    ended.epochStep = ended.stepsPerEpoch
    ended.meanLoss = lossSum / Double(max(1, ended.stepsPerEpoch))
    lossSum = 0
    evaluation = try evaluate()
    try report(.epoch(ended, evaluation: evaluation))
    if options.checkpointEvery == nil { try save(report) }
  }

  private func updateProgress() {
    let state = source.state
    progress.epoch = state.epoch
    progress.epochStep = state.position
    progress.stepsPerEpoch = source.batchesPerEpoch
    if state.position > 0 { progress.meanLoss = lossSum / Double(state.position) }
    let whole = options.epochs.map { $0.multipliedReportingOverflow(by: source.batchesPerEpoch) }
    let byEpochs = whole.map { $0.overflow ? Int.max : $0.partialValue } ?? Int.max
    progress.totalSteps = min(byEpochs, options.steps ?? Int.max)
  }

  private func save(_ report: (TrainingEvent) throws -> Void) throws {
    guard let directory, saved?.step != progress.step || saved?.epoch != progress.epoch else {
      return
    }
    let state = TrainingState(
      step: progress.step, seed: options.seed, lossSum: lossSum, batches: source.state,
      draws: Dictionary(
        session.variables.drawCounts.map { ($0.name, $0.count) },
        uniquingKeysWith: { _, last in last }))
    let path = directory.checkpointPath(step: progress.step)
    try Checkpoint(of: session, metadata: [TrainingState.key: try state.text()]).write(to: path)
    let isNew = saved?.step != progress.step
    saved = (progress.step, progress.epoch)
    directory.keepNewest(options.checkpointsKept)
    if isNew { try report(.checkpoint(step: progress.step, path: path)) }
  }
}

/// How fast steps follow each other.
private struct Pace {
  private let clock = ContinuousClock()
  private let begin: ContinuousClock.Instant
  private let firstStep: Int
  // Times and units of the last steps.
  private var recent: [(time: ContinuousClock.Instant, units: Int)]

  init(_ step: Int) {
    begin = clock.now
    firstStep = step
    recent = [(begin, 0)]
  }

  mutating func add(_ units: Int) {
    recent.append((clock.now, units))
    if recent.count > 40 { recent.removeFirst() }
  }

  private static func seconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
  }

  var rate: Double {
    guard let first = recent.first, let last = recent.last else { return 0 }
    let units = recent.dropFirst().reduce(0) { $0 + $1.units }
    let time = Pace.seconds(first.time.duration(to: last.time))
    return time > 0 ? Double(units) / time : 0
  }

  func secondsLeft(_ progress: TrainingProgress) -> Double {
    let done = progress.step - firstStep
    guard done > 0, progress.totalSteps < Int.max else { return .infinity }
    let elapsed = Pace.seconds(begin.duration(to: clock.now))
    return elapsed / Double(done) * Double(max(0, progress.totalSteps - progress.step))
  }
}

extension Tensor {
  /// The one number in it.
  func number(_ key: String) throws(WeftError) -> Double {
    guard let numbers = doubles, numbers.count == 1 else {
      throw WeftError(.invalidArgument, "the output '\(key)' is \(type), not one number")
    }
    return numbers[0]
  }
}
