// Ops that a training graph carries along: they load and are kept, but a run refuses them.

internal import WeftGraph
internal import WeftTensors

enum RefusedRows {
  // Shapes as the attr `output_shapes` states them; scalars for handles; else unknown.
  private static func row(
    _ name: String, _ arguments: String, _ attributes: String, _ hint: String,
    shape: Shape = .unknown, stated: String? = nil, traits: OpTraits = [.stateful]
  ) -> OpDef {
    OpDef(
      name, arguments, attributes, summary: "Loads, and is refused when it is run.",
      traits: traits,
      infer: { ctx in
        var shapes: [Shape] = []
        let listed = try stated.map { try ctx.attrs.shapes($0) } ?? []
        for output in ctx.op.signature.outputs {
          var width = 1
          if case .list(let types) = output.type { width = try ctx.attrs.types(types).count }
          if let count = output.count { width = try ctx.attrs.int(count) }
          for _ in 0..<max(0, min(width, 100_000)) {
            var known = shape
            if case .fixed(let dtype) = output.type, dtype == .resource || dtype == .variant {
              known = .scalar
            }
            shapes.append(listed.indices.contains(shapes.count) ? listed[shapes.count] : known)
          }
        }
        return shapes
      },
      handles: nil, gradient: .none("it cannot be run"), lowering: .refused(hint))
  }

  private static let saverHint =
    "a graph opens no files; use --save and --restore, or feed what it would give"
  private static let summaryHint = "summaries are not written by graphs; fetch the values instead"
  private static let queueHint =
    "queues and readers have no place here; feed the tensors that it would give"
  private static let iteratorHint = "datasets are not part of a run; feed the tensors it would give"
  private static let fileHint = "a graph opens no files; feed what it would give"

  private static let savers = [
    row(
      "SaveV2",
      "prefix: string, tensor_names: string, shape_and_slices: string, tensors: dtypes -> ",
      "dtypes: list(type) >= 1", saverHint),
    row(
      "RestoreV2",
      "prefix: string, tensor_names: string, shape_and_slices: string -> tensors: dtypes",
      "dtypes: list(type) >= 1", saverHint),
    row(
      "MergeV2Checkpoints", "checkpoint_prefixes: string, destination_prefix: string -> ",
      "delete_old_dirs: bool = true; allow_missing_files: bool = false", saverHint),
    row(
      "ShardedFilename", "basename: string, shard: int32, num_shards: int32 -> filename: string",
      "", saverHint, shape: .scalar, traits: []),
    row(
      "ShardedFilespec", "basename: string, num_shards: int32 -> filename: string", "", saverHint,
      shape: .scalar, traits: []),
    row(
      "Save", "filename: string, tensor_names: string, data: T -> ", "T: list(type) >= 1",
      saverHint),
    row(
      "SaveSlices",
      "filename: string, tensor_names: string, shapes_and_slices: string, data: T -> ",
      "T: list(type) >= 1", saverHint),
    row(
      "Restore", "file_pattern: string, tensor_name: string -> tensor: dt",
      "dt: type; preferred_shard: int = -1", saverHint),
    row(
      "RestoreSlice",
      "file_pattern: string, tensor_name: string, shape_and_slice: string -> tensor: dt",
      "dt: type; preferred_shard: int = -1", saverHint),
  ]

  private static let summaries = [
    row(
      "ScalarSummary", "tags: string, values: T -> summary: string", "T: realnumbertype",
      summaryHint, shape: .scalar, traits: []),
    row(
      "HistogramSummary", "tag: string, values: T -> summary: string",
      "T: realnumbertype = float", summaryHint, shape: .scalar, traits: []),
    row(
      "MergeSummary", "inputs: N * string -> summary: string", "N: int >= 1", summaryHint,
      shape: .scalar, traits: []),
    row(
      "AudioSummaryV2", "tag: string, tensor: float, sample_rate: float -> summary: string",
      "max_outputs: int >= 1 = 3", summaryHint, shape: .scalar, traits: []),
    row(
      "TensorSummary", "tensor: T -> summary: string",
      "T: type; description: string = ''; labels: list(string) = []; display_name: string = ''",
      summaryHint, shape: .scalar, traits: []),
    row(
      "TensorSummaryV2",
      "tag: string, tensor: T, serialized_summary_metadata: string -> summary: string", "T: type",
      summaryHint, shape: .scalar, traits: []),
    row(
      "WriteSummary",
      "writer: resource, step: int64, tensor: T, tag: string, summary_metadata: string -> ",
      "T: type", summaryHint),
    row(
      "SummaryWriter", " -> writer: resource", "shared_name: string = ''; container: string = ''",
      summaryHint),
  ]

  private static let shared = "container: string = ''; shared_name: string = ''"
  private static let queue =
    "component_types: list(type) >= 1; shapes: list(shape) >= 0 = []; capacity: int = -1; "
    + shared
  private static let dequeue = "component_types: list(type) >= 1; timeout_ms: int = -1"
  private static let enqueue = "Tcomponents: list(type) >= 1; timeout_ms: int = -1"

  private static let queues = [
    row("FIFOQueueV2", " -> handle: resource", queue, queueHint),
    row("PaddingFIFOQueueV2", " -> handle: resource", queue, queueHint),
    row(
      "RandomShuffleQueueV2", " -> handle: resource",
      queue + "; min_after_dequeue: int = 0; seed: int = 0; seed2: int = 0", queueHint),
    row(
      "PriorityQueueV2", " -> handle: resource",
      "component_types: list(type) >= 0 = []; shapes: list(shape) >= 0; capacity: int = -1; "
        + shared, queueHint),
    row("FIFOQueue", " -> handle: Ref(string)", queue, queueHint),
    row(
      "RandomShuffleQueue", " -> handle: Ref(string)",
      queue + "; min_after_dequeue: int = 0; seed: int = 0; seed2: int = 0", queueHint),
    row("QueueEnqueueV2", "handle: resource, components: Tcomponents -> ", enqueue, queueHint),
    row("QueueEnqueueManyV2", "handle: resource, components: Tcomponents -> ", enqueue, queueHint),
    row("QueueDequeueV2", "handle: resource -> components: component_types", dequeue, queueHint),
    row(
      "QueueDequeueManyV2", "handle: resource, n: int32 -> components: component_types", dequeue,
      queueHint),
    row(
      "QueueDequeueUpToV2", "handle: resource, n: int32 -> components: component_types", dequeue,
      queueHint),
    row(
      "QueueCloseV2", "handle: resource -> ", "cancel_pending_enqueues: bool = false", queueHint),
    row("QueueSizeV2", "handle: resource -> size: int32", "", queueHint, shape: .scalar),
    row("QueueIsClosedV2", "handle: resource -> is_closed: bool", "", queueHint, shape: .scalar),
    row("QueueEnqueue", "handle: Ref(string), components: Tcomponents -> ", enqueue, queueHint),
    row(
      "QueueEnqueueMany", "handle: Ref(string), components: Tcomponents -> ", enqueue, queueHint),
    row("QueueDequeue", "handle: Ref(string) -> components: component_types", dequeue, queueHint),
    row(
      "QueueDequeueMany", "handle: Ref(string), n: int32 -> components: component_types", dequeue,
      queueHint),
    row(
      "QueueClose", "handle: Ref(string) -> ", "cancel_pending_enqueues: bool = false", queueHint),
    row("QueueSize", "handle: Ref(string) -> size: int32", "", queueHint, shape: .scalar),
    row(
      "TextLineReaderV2", " -> reader_handle: resource",
      "skip_header_lines: int = 0; " + shared, queueHint),
    row(
      "TFRecordReaderV2", " -> reader_handle: resource",
      shared + "; compression_type: string = ''", queueHint),
    row("WholeFileReaderV2", " -> reader_handle: resource", shared, queueHint),
    row(
      "ReaderReadV2",
      "reader_handle: resource, queue_handle: resource -> key: string, value: string", "",
      queueHint, shape: .scalar),
    row(
      "ReaderReadUpToV2",
      "reader_handle: resource, queue_handle: resource, num_records: int64 -> "
        + "keys: string, values: string", "", queueHint, shape: Shape(unknownOfRank: 1)),
  ]

  private static let outputs =
    "output_types: list(type) >= 1; output_shapes: list(shape) >= 1"

  private static let iterators = [
    row(
      "Iterator", " -> handle: resource", "shared_name: string; container: string; " + outputs,
      iteratorHint),
    row(
      "IteratorV2", " -> handle: resource", "shared_name: string; container: string; " + outputs,
      iteratorHint),
    row(
      "OneShotIterator", " -> handle: resource",
      "dataset_factory: func; " + outputs + "; " + shared, iteratorHint),
    row("MakeIterator", "dataset: variant, iterator: resource -> ", "", iteratorHint),
    row(
      "IteratorGetNext", "iterator: resource -> components: output_types", outputs, iteratorHint,
      stated: "output_shapes"),
    row(
      "IteratorGetNextSync", "iterator: resource -> components: output_types", outputs,
      iteratorHint, stated: "output_shapes"),
    row(
      "IteratorGetNextAsOptional", "iterator: resource -> optional: variant", outputs,
      iteratorHint),
    row(
      "IteratorToStringHandle", "resource_handle: resource -> string_handle: string", "",
      iteratorHint, shape: .scalar),
    row(
      "IteratorFromStringHandle", "string_handle: string -> resource_handle: resource",
      "output_types: list(type) >= 0 = []; output_shapes: list(shape) >= 0 = []", iteratorHint),
    row(
      "IteratorFromStringHandleV2", "string_handle: string -> resource_handle: resource",
      "output_types: list(type) >= 0 = []; output_shapes: list(shape) >= 0 = []", iteratorHint),
    row(
      "TensorDataset", "components: Toutput_types -> handle: variant",
      "Toutput_types: list(type) >= 1; output_shapes: list(shape) >= 1; metadata: string = ''",
      iteratorHint),
    row(
      "TensorSliceDataset", "components: Toutput_types -> handle: variant",
      "Toutput_types: list(type) >= 1; output_shapes: list(shape) >= 1; is_files: bool = false; "
        + "metadata: string = ''; replicate_on_split: bool = false", iteratorHint),
    row(
      "BatchDatasetV2",
      "input_dataset: variant, batch_size: int64, drop_remainder: bool -> handle: variant",
      "parallel_copy: bool = false; " + outputs + "; metadata: string = ''", iteratorHint),
    row(
      "RepeatDataset", "input_dataset: variant, count: int64 -> handle: variant",
      outputs + "; metadata: string = ''", iteratorHint),
    row(
      "ShuffleDataset",
      "input_dataset: variant, buffer_size: int64, seed: int64, seed2: int64 -> handle: variant",
      "reshuffle_each_iteration: bool = true; " + outputs + "; metadata: string = ''",
      iteratorHint),
    row(
      "PrefetchDataset", "input_dataset: variant, buffer_size: int64 -> handle: variant",
      outputs
        + "; slack_period: int = 0; legacy_autotune: bool = true; buffer_size_min: int = 0; "
        + "metadata: string = ''", iteratorHint),
  ]

  private static let files = [
    row("ReadFile", "filename: string -> contents: string", "", fileHint, traits: []),
    row("WriteFile", "filename: string, contents: string -> ", "", fileHint),
    row(
      "MatchingFiles", "pattern: string -> filenames: string", "", fileHint,
      shape: Shape(unknownOfRank: 1), traits: []),
    row(
      "PyFunc", "input: Tin -> output: Tout",
      "token: string; Tin: list(type) >= 0; Tout: list(type) >= 0",
      "there is no Python here; feed what it would give"),
    row(
      "HashTableV2", " -> table_handle: resource",
      shared + "; use_node_name_sharing: bool = false; key_dtype: type; value_dtype: type",
      "lookup tables have no kernels here; feed the ids that it would give"),
    row(
      "LookupTableFindV2",
      "table_handle: resource, keys: Tin, default_value: Tout -> values: Tout",
      "Tin: type; Tout: type",
      "lookup tables have no kernels here; feed the ids that it would give"),
    row(
      "InitializeTableV2", "table_handle: resource, keys: Tkey, values: Tval -> ",
      "Tkey: type; Tval: type",
      "lookup tables have no kernels here; feed the ids that it would give"),
    row(
      "InitializeTableFromTextFileV2", "table_handle: resource, filename: string -> ",
      "key_index: int >= -2; value_index: int >= -2; vocab_size: int >= -1 = -1; "
        + "delimiter: string = '\t'; offset: int = 0",
      "lookup tables have no kernels here; feed the ids that it would give"),
  ]

  static let all = savers + summaries + queues + iterators + files
}
