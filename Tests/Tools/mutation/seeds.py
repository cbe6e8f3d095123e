"""The graphs that changes start from: files, and conformance cases with their feeds."""
import base64
import glob
import json
import os
import random

from .graphs import nodes_of
from .tensors import NAMED, NUMBERS, Array, pack, product, random_values, sizes_of


def array_of(tensor):
    dtype = NAMED.get(tensor["dtype"])
    return Array(dtype, tensor["shape"], base64.b64decode(tensor["b64"])) if dtype else None


def seeds_of_cases(folder):
    files = sorted(glob.glob(os.path.join(folder, "*.jsonl"))
                   or glob.glob(os.path.join(folder, "ops", "*.jsonl")))
    for file in files:
        for line in open(file, encoding="utf-8"):
            case = json.loads(line)
            steps = []
            for step in case["steps"]:
                feeds = {k: array_of(t) for k, t in (step.get("feeds") or {}).items()}
                steps.append({"feeds": {k: a for k, a in feeds.items() if a},
                              "targets": step.get("targets") or [],
                              "fetches": list(step.get("fetches") or {})})
            graph, text = case.get("graph"), case.get("graph_text")
            if graph is None:
                try:
                    graph = json.loads(text)
                except ValueError:
                    graph = None
            yield {"id": case["id"], "graph": graph, "text": text, "steps": steps,
                   "autodiff": case.get("autodiff")}


def seeds_of_files(paths):
    for path in paths:
        files = [path]
        if os.path.isdir(path):
            files = sorted(glob.glob(os.path.join(path, "*.json")))
        for file in files:
            text = open(file, encoding="utf-8").read()
            graph = json.loads(text)
            yield {"id": os.path.splitext(os.path.basename(file))[0], "graph": graph, "text": text,
                   "steps": steps_of_signatures(graph), "autodiff": None}


def steps_of_signatures(graph):
    """`init`, then each signature with made-up feeds; without any, the last nodes."""
    rng = random.Random(0)
    steps = []
    signatures = graph.get("signatureDef") or {}
    for key in sorted(signatures, key=lambda k: (k != "init", k)):
        step = {"feeds": {}, "targets": [], "fetches": []}
        for _, info in sorted((signatures[key].get("inputs") or {}).items()):
            sizes = [n if n >= 0 else 2 for n in sizes_of(info.get("tensorShape"))]
            dtype = info.get("dtype")
            if dtype in NUMBERS and product(sizes) < 1 << 20:
                step["feeds"][info["name"]] = Array(
                    dtype, sizes, pack(dtype, random_values(rng, dtype, product(sizes))))
        for _, info in sorted((signatures[key].get("outputs") or {}).items()):
            step["fetches" if ":" in info.get("name", "") else "targets"].append(info.get("name", ""))
        steps.append(step)
    if not steps:
        nodes = nodes_of(graph)
        feeds = {}
        for node in nodes:
            if node.get("op") == "Placeholder":
                dtype = node["attr"]["dtype"]["type"]
                sizes = [n if n >= 0 else 2
                         for n in sizes_of(node["attr"].get("shape", {}).get("shape"))]
                if dtype in NUMBERS:
                    feeds[node["name"]] = Array(
                        dtype, sizes, pack(dtype, random_values(rng, dtype, product(sizes))))
        steps.append({"feeds": feeds, "targets": [], "fetches": [n["name"] for n in nodes[-3:]]})
    return steps
