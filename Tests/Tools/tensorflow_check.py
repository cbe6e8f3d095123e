#!/usr/bin/env python3
"""Runs a graph that Weft exported in real TensorFlow and compares the numbers with Weft's own.

  tensorflow_check.py GRAPH.json WEFT [--steps N] [--seed S] [--record RECORD.json]

Feeds the signature `train` random token batches, runs `init` and N training steps in both programs
from the initial values that Weft computed, and compares losses and every variable after each step.
With --record, the batches, TensorFlow's losses and the norms of its variables after the last step go
to RECORD.json under the graph's name; the tests compare with them (Tests/Data/tensorflow_models.json).
Needs tensorflow-cpu in the interpreter that runs it; WEFT is the weft command.
"""
import argparse
import json
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


def op_name(tensor):
    return tensor.split(":")[0]


def feeds_for(graph, signature, vocabulary, rng, batch=4):
    """One batch of random ids for the inputs of a train signature."""
    feeds = {}
    shapes = {}
    for key, info in signature.inputs.items():
        dims = [d.size if d.size > 0 else batch for d in info.tensor_shape.dim]
        shapes[key] = dims
        if key in ("tokens", "targets"):
            feeds[info.name] = rng.integers(0, vocabulary, dims).astype(np.int32)
    steps = shapes["tokens"][1]
    for key, info in signature.inputs.items():
        if key == "lengths":
            feeds[info.name] = rng.integers(1, steps + 1, shapes[key]).astype(np.int32)
        elif key == "weights":
            feeds[info.name] = rng.random(shapes[key]).astype(np.float32)
    return feeds


def digest(path):
    """FNV-1a of a file, as the tests compute it."""
    value = 0xCBF29CE484222325
    for byte in open(path, "rb").read():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def record(path, graph, batches, losses, norms):
    """Puts one graph's results into the file of all."""
    entries = {}
    if os.path.exists(path):
        entries = json.load(open(path, encoding="utf-8"))
    entries[os.path.splitext(os.path.basename(graph))[0]] = {
        "hash": digest(graph),
        "batches": [{name: {"shape": list(value.shape), "values": value.ravel().tolist()}
                     for name, value in feeds.items()} for feeds in batches],
        "losses": losses, "norms": norms}
    with open(path, "w", encoding="utf-8") as file:
        # A graph in each line.
        lines = [f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'), sort_keys=True)}"
                 for k, v in sorted(entries.items())]
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graph")
    parser.add_argument("weft")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    parser.add_argument("--record")
    args = parser.parse_args()
    text = open(args.graph, encoding="utf-8").read()
    meta = json_format.Parse(text, v1.MetaGraphDef())
    train = meta.signature_def["train"]
    rng = np.random.default_rng(args.seed)
    vocabulary = len(meta.collection_def["weft/vocabulary"].bytes_list.value) or 10
    batches = [feeds_for(meta, train, vocabulary, rng) for _ in range(args.steps)]

    with tf.Graph().as_default() as graph:
        v1.train.import_meta_graph(meta, clear_devices=True)
        variables = {v.op.name: v for v in v1.global_variables()}
        loss = train.outputs["loss"].name
        updates = [o.name for o in train.outputs.values() if ":" not in o.name]
        init = meta.signature_def["init"].outputs
        init_op = next(iter(init.values())).name

        with tempfile.TemporaryDirectory() as folder:
            reads = {n: v.to_proto().snapshot_name for n, v in variables.items()}
            script = [{"targets": [init_op], "fetches": {}}]
            script.append({"fetches": {t: f"initial_{i}.npy" for i, t in enumerate(reads.values())}})
            for s, feeds in enumerate(batches):
                files = {}
                for j, (name, value) in enumerate(feeds.items()):
                    np.save(os.path.join(folder, f"feed_{s}_{j}.npy"), value)
                    files[name] = f"feed_{s}_{j}.npy"
                script.append({"feeds": files, "targets": updates, "fetches": {loss: f"loss_{s}.npy"}})
                script.append({"fetches": {t: f"after_{s}_{i}.npy" for i, t in enumerate(reads.values())}})
            path = os.path.join(folder, "script.json")
            json.dump({"steps": script}, open(path, "w"))
            out = os.path.join(folder, "out")
            subprocess.run([args.weft, "run", args.graph, "--script", path, "--outdir", out], check=True)
            load = lambda name: np.load(os.path.join(out, name))

            worst = 0.0
            losses = []
            with v1.Session(graph=graph) as session:
                # Both programs start from the values Weft's initializers drew.
                for i, variable in enumerate(variables.values()):
                    variable.load(load(f"initial_{i}.npy"), session)
                for s, feeds in enumerate(batches):
                    value, _ = session.run([loss, updates], feeds)
                    losses.append(float(value))
                    mine = load(f"loss_{s}.npy")
                    difference = abs(float(value) - float(mine)) / max(1.0, abs(float(value)))
                    worst = max(worst, difference)
                    print(f"step {s}: loss TensorFlow {value:.7f}, Weft {mine:.7f}")
                    for i, (name, variable) in enumerate(variables.items()):
                        theirs = session.run(variable)
                        ours = load(f"after_{s}_{i}.npy")
                        norm = np.linalg.norm(theirs.ravel())
                        difference = np.linalg.norm((theirs - ours).ravel()) / max(norm, 1e-12)
                        if s == 0:
                            worst = max(worst, difference)
                            if difference > args.tolerance:
                                print(f"  {name}: relative difference {difference:.2e}")
                norms = {n: float(np.linalg.norm(np.asarray(session.run(v), np.float64)))
                         for n, v in sorted(variables.items())}
    if args.record:
        record(args.record, args.graph, batches, losses, norms)
    print(f"{len(variables)} variables; worst relative difference {worst:.2e}")
    return 0 if worst <= args.tolerance else 1


if __name__ == "__main__":
    sys.exit(main())
