#!/usr/bin/env python3
"""Trains a graph that TensorFlow exported in TensorFlow and in Weft, and compares the numbers.

  training_check.py GRAPH.json DATA.npz WEFT [--steps 20]

GRAPH has signatures `init` (an operation that draws nothing at random) and `train`; DATA holds one
array [steps, ...] for each input. Step 1: every gradient that reaches an optimizer node and every
updated variable within 1e-5 (norm of the difference over the norm). All steps: losses within three
times TensorFlow's own spread, which is what oneDNN changes when it is switched off.
Needs tensorflow-cpu in the interpreter that runs it; WEFT is the weft command.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np


def optimizer_gradients(nodes):
    """Tensor names of the gradients that dense and sparse optimizer nodes take, in node order."""
    names = []
    for node in nodes:
        data = [i for i in node.input if not i.startswith("^")]
        sparse = "Sparse" in node.op
        if node.op in ("ResourceApplyAdam", "ApplyAdam", "ResourceApplyGradientDescent",
                       "ApplyGradientDescent", "ResourceApplyRMSProp", "ApplyRMSProp"):
            names.append(data[-1])
        elif node.op in ("ResourceApplyMomentum", "ApplyMomentum"):
            names.append(data[3])
        elif sparse and "Apply" in node.op:
            names.append(data[-2])
        elif node.op in ("ResourceScatterAdd", "ScatterAdd", "ScatterSub", "ResourceScatterSub"):
            names.append(data[2])
    unique = []
    for name in names:
        if ":" not in name:
            name += ":0"
        if name not in unique:
            unique.append(name)
    return unique


def read_graph(path):
    import tensorflow as tf
    from google.protobuf import json_format

    return json_format.Parse(open(path, encoding="utf-8").read(), tf.compat.v1.MetaGraphDef())


def variable_reads(meta):
    """Variable name to the tensor that reads it."""
    import tensorflow as tf

    reads = {}
    for data in meta.collection_def["variables"].bytes_list.value:
        definition = tf.core.framework.variable_pb2.VariableDef.FromString(data) if hasattr(
            tf, "core") else None
        if definition is None:
            from tensorflow.core.framework import variable_pb2

            definition = variable_pb2.VariableDef.FromString(data)
        reads[definition.variable_name.split(":")[0]] = definition.snapshot_name
    if not reads:
        for node in meta.graph_def.node:
            if node.op == "ReadVariableOp" and node.input[0].split(":")[0] not in reads:
                reads[node.input[0].split(":")[0]] = node.name + ":0"
    return reads


def plan(meta, data, steps):
    train = meta.signature_def["train"]
    init = next(iter(meta.signature_def["init"].outputs.values())).name
    loss = train.outputs["loss"].name
    updates = [o.name for o in train.outputs.values() if ":" not in o.name]
    feeds = [{info.name: data[key][s] for key, info in train.inputs.items()} for s in range(steps)]
    return init, loss, updates, feeds, optimizer_gradients(meta.graph_def.node)


def run_tensorflow(args):
    """In a process of its own: writes losses, step-1 gradients and variables to an .npz."""
    import tensorflow as tf

    v1 = tf.compat.v1
    meta = read_graph(args.graph)
    init, loss, updates, feeds, gradients = plan(meta, np.load(args.data), args.steps)
    reads = variable_reads(meta)
    out = {}
    with tf.Graph().as_default() as graph:
        v1.train.import_meta_graph(meta, clear_devices=True)
        operations = [graph.get_operation_by_name(u) for u in updates]
        with v1.Session(graph=graph) as session:
            session.run(graph.get_operation_by_name(init))
            losses = []
            for s, feed in enumerate(feeds):
                wanted = [loss] + (gradients if s == 0 else [])
                values, _ = session.run([wanted, operations], feed)
                losses.append(values[0])
                if s == 0:
                    for i, value in enumerate(values[1:]):
                        out[f"gradient_{i}"] = value
                    for i, value in enumerate(session.run(list(reads.values()))):
                        out[f"variable_{i}"] = value
    out["losses"] = np.array(losses, np.float64)
    np.savez(args.tensorflow, **out)


def run_weft(args, meta, folder):
    init, loss, updates, feeds, gradients = plan(meta, np.load(args.data), args.steps)
    reads = variable_reads(meta)
    script = [{"targets": [init]}]
    for s, feed in enumerate(feeds):
        files = {}
        for j, (name, value) in enumerate(feed.items()):
            np.save(os.path.join(folder, f"feed_{s}_{j}.npy"), value)
            files[name] = f"feed_{s}_{j}.npy"
        fetches = {loss: f"loss_{s}.npy"}
        if s == 0:
            fetches.update({g: f"gradient_{i}.npy" for i, g in enumerate(gradients)})
        script.append({"feeds": files, "targets": updates, "fetches": fetches})
        if s == 0:
            script.append({"fetches": {r: f"variable_{i}.npy" for i, r in enumerate(reads.values())}})
    path = os.path.join(folder, "script.json")
    json.dump({"steps": script}, open(path, "w"))
    out = os.path.join(folder, "out")
    start = time.time()
    subprocess.run([args.weft, "run", args.graph, "--script", path, "--outdir", out], check=True)
    print(f"weft: {args.steps} steps in {time.time() - start:.1f} s")
    load = lambda name: np.load(os.path.join(out, name + ".npy"))
    result = {f"gradient_{i}": load(f"gradient_{i}") for i in range(len(gradients))}
    result.update({f"variable_{i}": load(f"variable_{i}") for i in range(len(reads))})
    result["losses"] = np.array([float(load(f"loss_{s}")) for s in range(args.steps)])
    return result, gradients, list(reads)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graph")
    parser.add_argument("data")
    parser.add_argument("weft")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--tensorflow", help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if args.tensorflow:
        return run_tensorflow(args)
    with tempfile.TemporaryDirectory() as folder:
        theirs = {}
        for one_dnn in ("1", "0"):
            path = os.path.join(folder, f"tensorflow_{one_dnn}.npz")
            subprocess.run(
                [sys.executable, __file__, args.graph, args.data, args.weft, "--steps",
                 str(args.steps), "--tensorflow", path], check=True, stderr=subprocess.DEVNULL,
                env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": one_dnn})
            theirs[one_dnn] = dict(np.load(path))
        ours, gradients, variables = run_weft(args, read_graph(args.graph), folder)
    failed = False

    def relative(a, b):
        a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
        return np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30)

    for kind, names in (("gradient", gradients), ("variable", variables)):
        worst = 0.0
        for i, name in enumerate(names):
            error = relative(ours[f"{kind}_{i}"], theirs["1"][f"{kind}_{i}"])
            own = relative(theirs["0"][f"{kind}_{i}"], theirs["1"][f"{kind}_{i}"])
            worst = max(worst, error)
            if error > 1e-5:
                failed = True
                print(f"  {kind} of {name}: {error:.2e} (TensorFlow's own kernels: {own:.2e})")
        print(f"step 1: {len(names)} {kind}s, worst relative difference {worst:.2e}")
    spread = np.abs(theirs["1"]["losses"] - theirs["0"]["losses"]).max()
    error = min(
        np.abs(ours["losses"] - theirs[one]["losses"]).max() for one in ("1", "0"))
    allowed = 3 * max(spread, np.spacing(np.float32(theirs["1"]["losses"].max())))
    print(f"{args.steps} losses: worst difference {error:.2e}, TensorFlow's own spread {spread:.2e}")
    if error > allowed:
        failed = True
    print("failed" if failed else "passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
