#!/usr/bin/env python3
"""Checks that Weft restores what real TensorFlow saved, down to the outputs of the model.

  checkpoint_check.py --cli WEFT [GRAPH.json ...] [--tolerance 1e-6]

Gives the variables of each graph random values, lets TensorFlow run the signature `generate`, and
lets it write the values in every form it has: a V2 checkpoint (by prefix, `.index` and folder), one
of several data files, one of partitioned variables, a SavedModel by `simple_save` and one by the
builder. Weft then runs the same signature with each restored, and converts each to .npz and
.safetensors. Without GRAPH, the graphs of this repository are taken. Needs tensorflow-cpu in the
interpreter that runs it; WEFT is the weft command.
"""
import argparse
import glob
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
import numpy as np
import tensorflow as tf
from google.protobuf import json_format

v1 = tf.compat.v1
v1.logging.set_verbosity(v1.logging.ERROR)
v1.disable_v2_behavior()


def raw_save(session, prefix, names, slices, tensors):
    session.run(v1.raw_ops.SaveV2(
        prefix=prefix, tensor_names=names, shape_and_slices=slices, tensors=tensors))


def save_in_shards(session, prefix, variables):
    """Two checkpoints with half of the variables each, merged: one index, two data files."""
    parts = []
    for i in range(2):
        some = variables[i::2]
        parts.append(f"{prefix}-part{i}")
        raw_save(session, parts[i], [v.op.name for v in some], [""] * len(some),
                 [session.run(v) for v in some])
    session.run(v1.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts, destination_prefix=prefix, delete_old_dirs=False))


def save_in_slices(session, prefix, variables):
    """Every variable with axes cut in two on its longest one, as partitioners do."""
    names, slices, tensors = [], [], []
    for variable in variables:
        value = session.run(variable)
        axis = int(np.argmax(value.shape)) if value.ndim else None
        cuts = [0] if axis is None or value.shape[axis] < 2 else [0, (value.shape[axis] + 1) // 3]
        for at, start in enumerate(cuts):
            names.append(variable.op.name)
            if len(cuts) == 1:
                slices.append("")
                tensors.append(value)
                continue
            end = cuts[at + 1] if at + 1 < len(cuts) else value.shape[axis]
            extents = ["-"] * value.ndim
            extents[axis] = f"{start},{end - start}"
            slices.append(" ".join(map(str, value.shape)) + " " + ":".join(extents))
            tensors.append(np.take(value, range(start, end), axis))
    raw_save(session, prefix, names, slices, tensors)


def save_all(session, folder, meta, variables, inputs, outputs):
    """Writes the forms; yields what to call each, MODEL (or None for the graph) and the checkpoint."""
    path = lambda *names: os.path.join(folder, *names)
    os.mkdir(path("saver"))
    prefix = v1.train.Saver(variables).save(session, path("saver", "model.ckpt"), global_step=7)
    yield "prefix", None, prefix
    yield "index", None, prefix + ".index"
    yield "folder", None, path("saver")
    save_in_shards(session, path("sharded"), variables)
    yield "data files", None, path("sharded")
    save_in_slices(session, path("sliced"), variables)
    yield "partitions", None, path("sliced")
    v1.saved_model.simple_save(session, path("simple"), inputs, outputs)
    yield "simple_save", path("simple"), None
    yield "its variables", None, path("simple")
    for as_text in (False, True):
        name = "text" if as_text else "builder"
        builder = v1.saved_model.builder.SavedModelBuilder(path(name))
        builder.add_meta_graph_and_variables(
            session, ["train"], signature_def_map={"generate": meta.signature_def["generate"]})
        builder.save(as_text=as_text)
        yield name, path(name), None


def check(graph_path, cli, tolerance, rng):
    meta = json_format.Parse(open(graph_path, encoding="utf-8").read(), v1.MetaGraphDef())
    signature = meta.signature_def["generate"]
    vocabulary = signature.outputs["logits"].tensor_shape.dim[-1].size
    failures = 0
    with tempfile.TemporaryDirectory() as folder, tf.Graph().as_default() as graph:
        v1.train.import_meta_graph(meta, clear_devices=True)
        variables = v1.global_variables()
        feeds, arguments, inputs = {}, [], {}
        for key, info in signature.inputs.items():
            inputs[key] = graph.get_tensor_by_name(info.name)
            shape = [d.size if d.size > 0 else 3 for d in info.tensor_shape.dim]
            feeds[info.name] = (
                rng.integers(0, max(2, vocabulary), shape).astype(np.int32) if key == "token"
                else rng.normal(size=shape).astype(inputs[key].dtype.as_numpy_dtype))
            np.save(os.path.join(folder, key + ".npy"), feeds[info.name])
            arguments += ["--inputs", f"{key}={os.path.join(folder, key + '.npy')}"]
        outputs = {k: graph.get_tensor_by_name(i.name) for k, i in signature.outputs.items()}
        with v1.Session(graph=graph) as session:
            # Values that no initializer gives, so that only a restored model has them.
            for variable in variables:
                shape = variable.shape.as_list()
                kind = variable.dtype.base_dtype.as_numpy_dtype
                variable.load(
                    rng.normal(scale=0.3, size=shape).astype(kind) if np.issubdtype(kind, np.floating)
                    else rng.integers(0, 5, shape).astype(kind), session)
            wanted = session.run(outputs, feeds)
            values = {v.op.name: session.run(v) for v in variables}
            for form, model, restore in save_all(session, folder, meta, variables, inputs, outputs):
                name = "serving_default" if form == "simple_save" else "generate"
                out = os.path.join(folder, "out")
                command = [cli, "run", model or graph_path, "--signature", name, "--init", "never",
                           "--outdir", out, "--overwrite"] + arguments
                subprocess.run(command + (["--restore", restore] if restore else []), check=True)
                worst = 0.0
                for key, value in wanted.items():
                    mine = np.load(os.path.join(out, key + ".npy"))
                    worst = max(worst, float(np.max(np.abs(mine.astype(float) - value), initial=0)))
                archive = os.path.join(folder, "converted.npz")
                safetensors = os.path.join(folder, "converted.safetensors")
                subprocess.run([cli, "convert", restore or model, safetensors], check=True)
                subprocess.run([cli, "convert", safetensors, archive], check=True)
                loaded = np.load(archive)
                exact = set(loaded.files) == set(values) and all(
                    loaded[k].dtype == v.dtype and np.array_equal(loaded[k], v)
                    for k, v in values.items())
                good = exact and worst <= tolerance
                failures += not good
                print(f"{'ok' if good else 'FAILED':6} {os.path.relpath(graph_path)} {form}: "
                      f"largest difference {worst:.1e}, {len(values)} variables "
                      f"{'equal' if exact else 'DIFFER'}", flush=True)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graphs", nargs="*")
    parser.add_argument("--cli", required=True)
    parser.add_argument("--tolerance", type=float, default=1e-6)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    here = os.path.dirname(os.path.abspath(__file__))
    graphs = args.graphs or sorted(glob.glob(os.path.join(here, "../../graphs/*.json")))
    rng = np.random.default_rng(args.seed)
    failures = sum(check(graph, args.cli, args.tolerance, rng) for graph in graphs)
    print(f"{failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
