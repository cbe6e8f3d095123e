#!/usr/bin/env python3
"""Runs graphs that Weft's tests exported in real TensorFlow and records its results.

  tensorflow_rows.py ROWS.jsonl RECORD.jsonl

ROWS.jsonl is what the tests write where WEFT_EXPORT_ROWS names a folder: a graph, feeds and Weft's
results in each line. RECORD.jsonl gets TensorFlow's results with the hash of what was run. Prints
where the two differ by more than 1e-10 of the largest element. Needs tensorflow-cpu.
"""
import argparse
import base64
import json
import os
import re
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
import numpy as np
import tensorflow as tf
from google.protobuf import json_format

v1 = tf.compat.v1


def load(stored):
    dtype = tf.as_dtype(stored["dtype"]).as_numpy_dtype
    return np.frombuffer(base64.b64decode(stored["data"]), dtype).reshape(stored["shape"])


def store(value):
    value = np.asarray(value)
    data = np.ascontiguousarray(value).tobytes()
    return {"dtype": tf.as_dtype(value.dtype).name, "shape": list(value.shape),
            "data": base64.b64encode(data).decode()}


def reason(error):
    """What an error says, without paths and addresses of this machine."""
    message = getattr(error, "message", None) or str(error)
    lines = [l for l in message.split("\n")
             if l and not re.match(r"Graph execution error|Detected at node|Node: |  *File ", l)]
    text = lines[0] if lines else type(error).__name__
    return re.sub(r"(/[\w.-]+)+|0x[0-9a-f]+|<.*?>", "", text)[:160]


def run(row, config):
    """The value of each fetch, None where TensorFlow has no kernel for it; and the first error."""
    meta = json_format.Parse(row["graph"], v1.MetaGraphDef())
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(meta.graph_def, name="")
        feeds = {f["name"] if ":" in f["name"] else f["name"] + ":0": load(f["value"])
                 for f in row["feeds"]}
        with v1.Session(graph=graph, config=config) as session:
            for step in row["steps"]:
                session.run(graph.get_operation_by_name(step), feeds)
            names = [n if ":" in n else n + ":0" for n in row["fetches"]]
            try:
                return session.run(names, feeds), None
            except tf.errors.OpError as error:
                first = reason(error)
            results = []
            for name in names:
                try:
                    results.append(session.run(name, feeds))
                except tf.errors.OpError:
                    results.append(None)
            return results, first


def difference(own, theirs):
    if own.dtype != theirs.dtype or own.shape != theirs.shape:
        return np.inf
    if own.dtype.kind not in "fV":
        return 0.0 if np.array_equal(own, theirs) else np.inf
    a, b = own.astype(np.float64), theirs.astype(np.float64)
    finite = np.abs(b[np.isfinite(b)])
    scale = max(1e-6, finite.max(initial=0))
    with np.errstate(invalid="ignore"):
        gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a - b) / scale)
    return np.nan_to_num(gap, nan=np.inf).max(initial=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows")
    parser.add_argument("record")
    args = parser.parse_args()
    # One thread and no rewriting: the same numbers in every recording.
    config = v1.ConfigProto(inter_op_parallelism_threads=1, intra_op_parallelism_threads=1)
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    lines = []
    refused = different = 0
    for text in open(args.rows, encoding="utf-8"):
        row = json.loads(text)
        line = {"name": row["name"], "hash": row["hash"]}
        try:
            results, refusal = run(row, config)
        except Exception as error:  # the import raises many kinds
            results, refusal = [None] * len(row["fetches"]), reason(error)
        if refusal:
            line["refused"] = refusal
            print(f"refused    {row['name']}: {refusal}")
            refused += 1
        line["results"] = [None if r is None else store(r) for r in results]
        for fetch, own, theirs in zip(row["fetches"], row["results"], results):
            gap = 0 if theirs is None else difference(load(own), np.asarray(theirs))
            if gap > 1e-10:
                print(f"different  {row['name']}: {fetch} by {gap:.2e}")
                different += 1
        lines.append(json.dumps(line, separators=(",", ":"), ensure_ascii=False))
    with open(args.record, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    size = os.path.getsize(args.record)
    print(f"{len(lines)} cases, {refused} refused, {different} results differ; {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
