#!/usr/bin/env python3
"""Damages graphs in ways that keep some of their structure, and runs what comes out of it.

  mutate_graphs.py WEFT [SEEDS ...] [--cases DIR] [--count N] [--seed S] [--jobs J] [--out DIR]

SEEDS are graph files or folders of them; without any, the project's graphs/ and Tests/Data/seeds/.
--cases names a folder of conformance cases (ops/*.jsonl), whose feeds are used and damaged too.
Case I of seed S is the same in every run. Each is loaded and run (or converted, or differentiated,
and then run) by `weft batch`, many to a process. A case fails when its process dies, gives no
result for --timeout seconds, or grows beyond --memory MiB; whatever error it reports is fine.
A failed case is run again alone, made smaller, and kept in a folder of --out:
how.txt, graph.*, job.jsonl (cd there; weft batch job.jsonl --results out).
Ends with "N passed, N failed" and exits 1 when a case failed. Python's standard library only.
"""
import argparse
import base64
import concurrent.futures
import copy
import glob
import json
import os
import random
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

INTS = [0, 0, 1, 1, -1, -1, 2, 2, -2, 3, 4, 5, 7, 8, 9, 16, 63, 64, 65, 127, 128, 255, 256, 1000,
        32767, 65535, 65536, 1 << 20, 123456789, (1 << 30) + 1, (1 << 31) - 1, 1 << 31, -(1 << 31),
        -(1 << 31) + 1, 1 << 32, (1 << 32) + 1, 1 << 48, 1 << 53, 1 << 61, 1 << 62, -(1 << 62),
        (1 << 63) - 1, (1 << 63) - 2, -(1 << 63), -(1 << 63) + 1]
BEYOND = [1 << 63, 1 << 64, -(1 << 63) - 1, 10 ** 30]
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 3.4e38, -3.4e38, 1e308, 1e-310, "NaN", "Infinity",
          "-Infinity", 2147483648.0, 9.3e18, -9.3e18, 1e20]
TYPES = ["DT_" + n for n in (
    "FLOAT DOUBLE INT32 UINT8 INT16 INT8 STRING COMPLEX64 INT64 BOOL QINT8 QINT32 BFLOAT16 QUINT16 "
    "UINT16 COMPLEX128 HALF RESOURCE VARIANT UINT32 UINT64 INVALID INT4 FLOAT8_E5M2 FLOAT_REF "
    "INT32_REF RESOURCE_REF").split()]
# dtype: npy code, struct code, bytes, the field of a TensorProto
NUMBERS = {
    "DT_FLOAT": ("<f4", "f", 4, "floatVal"), "DT_DOUBLE": ("<f8", "d", 8, "doubleVal"),
    "DT_HALF": ("<f2", "e", 2, "halfVal"), "DT_BOOL": ("|b1", "?", 1, "boolVal"),
    "DT_INT8": ("|i1", "b", 1, "intVal"), "DT_UINT8": ("|u1", "B", 1, "intVal"),
    "DT_INT16": ("<i2", "h", 2, "intVal"), "DT_UINT16": ("<u2", "H", 2, "intVal"),
    "DT_INT32": ("<i4", "i", 4, "intVal"), "DT_UINT32": ("<u4", "I", 4, "uint32Val"),
    "DT_INT64": ("<i8", "q", 8, "int64Val"), "DT_UINT64": ("<u8", "Q", 8, "uint64Val"),
    "DT_COMPLEX64": ("<c8", None, 8, "scomplexVal"),
    "DT_COMPLEX128": ("<c16", None, 16, "dcomplexVal")}
NAMED = {"float32": "DT_FLOAT", "float64": "DT_DOUBLE", "float16": "DT_HALF", "bool": "DT_BOOL",
         "complex64": "DT_COMPLEX64", "complex128": "DT_COMPLEX128"}
NAMED.update({n.lower()[3:]: n for n in NUMBERS if "INT" in n})
STRINGS = ["", "NHWC", "NCHW", "SAME", "VALID", "EXPLICIT", "linear", "min", "REFLECT", "ij,jk->ik",
           "...ij,jk", "i,i,i->", "->", "ii->i", "a" * 300, "\u5c71", "x:0", "^x", "%s%n"]
NAMES = ["", " ", "^a", "a:0", "a/b/../c", "-x", "_x", "x" * 100000, "\u5c71", "a\nb", "a//b", "/a",
         ".", "a" * 255, "\u0000"]


def clone(value):
    return json.loads(json.dumps(value))


# ------------------------------------------------------------------------------- arrays of feeds
class Array:
    """A DT_ name, a shape, little-endian bytes in C order."""

    def __init__(self, dtype, shape, data):
        self.dtype, self.shape, self.data = dtype, list(shape), data

    def npy(self):
        shape = "(" + "".join(f"{n}, " for n in self.shape) + ")"
        head = f"{{'descr': '{NUMBERS[self.dtype][0]}', 'fortran_order': False, 'shape': {shape}, }}"
        head += " " * (-(len(head) + 11) % 64) + "\n"
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + self.data


def product(shape):
    n = 1
    for size in shape:
        n *= size
    return n


def pack(dtype, values):
    """Elements as bytes; what does not fit wraps around as in C."""
    _, code, size, _ = NUMBERS[dtype]
    out = bytearray()
    for value in values:
        if dtype.startswith("DT_COMPLEX"):
            out += struct.pack("<ff" if size == 8 else "<dd", to_float(value, size // 2), 0)
        elif code in "fde":
            out += struct.pack("<" + code, to_float(value, size))
        elif code == "?":
            out += bytes([1 if value else 0])
        else:
            number = to_float(value, 8)
            number = int(value if isinstance(value, int) else number
                         if abs(number) < 1e300 else 0)  # NaN compares false too
            out += (number & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    return bytes(out)


def to_float(value, size):
    value = float(value)
    top = {2: 65504.0, 4: 3.4e38, 8: 1.7e308}[size]
    return value if value != value or abs(value) == float("inf") else max(-top, min(top, value))


def unpack(dtype, data):
    _, code, size, _ = NUMBERS[dtype]
    if code is None:
        return [x[0] for x in struct.iter_unpack("<ff" if size == 8 else "<dd", data)]
    if code == "?":
        return [b != 0 for b in data]
    return [x[0] for x in struct.iter_unpack("<" + code, data[:len(data) // size * size])]


def random_values(rng, dtype, count):
    if dtype in ("DT_FLOAT", "DT_DOUBLE", "DT_HALF") or dtype.startswith("DT_COMPLEX"):
        return [rng.uniform(-2, 2) for _ in range(count)]
    return [rng.randrange(0, 3) for _ in range(count)]


def mutate_array(rng, array):
    """Another shape, other values, or another type."""
    values, shape, dtype = unpack(array.dtype, array.data), list(array.shape), array.dtype
    for _ in range(rng.choice([1, 1, 2])):
        kind = rng.choice(["value", "value", "value", "shape", "type", "all"])
        if kind == "value" and values:
            values[rng.randrange(len(values))] = interesting(rng, dtype)
        elif kind == "all" and values:
            values = [interesting(rng, dtype)] * len(values)
        elif kind == "type":
            dtype = rng.choice(list(NUMBERS))
        elif kind == "shape":
            shape = mutate_sizes(rng, shape, 1 << 10)
            count = product(shape)
            if count > 1 << 16:
                shape, count = [0] * len(shape), 0
            values = (values or random_values(rng, dtype, 1)) * (count // max(1, len(values)) + 1)
            values = values[:count]
    return Array(dtype, shape, pack(dtype, values))


def mutate_sizes(rng, sizes, top=None):
    sizes = list(sizes)
    kind = rng.randrange(8)
    if kind == 0:
        sizes.insert(rng.randint(0, len(sizes)), rng.choice([0, 1, 2, 3]))
    elif kind == 1 and sizes:
        sizes.pop(rng.randrange(len(sizes)))
    elif kind == 2:
        sizes = []
    elif kind == 3:
        sizes = [rng.choice([1, 0, 2])] * rng.choice([1, 4, 5, 8, 9, 33, 255])
    elif kind == 4 and sizes:
        rng.shuffle(sizes)
    elif sizes:
        at = rng.randrange(len(sizes))
        near = [max(0, sizes[at] - 1), sizes[at] + 1, sizes[at] * 2, 0, 1]
        sizes[at] = rng.choice(near + INTS)
    if top is not None:
        sizes = [min(max(0, n), top) for n in sizes]
    return sizes


def interesting(rng, dtype):
    if dtype == "DT_BOOL":
        return rng.random() < 0.5
    if dtype in ("DT_FLOAT", "DT_DOUBLE", "DT_HALF") or dtype.startswith("DT_COMPLEX"):
        return float(rng.choice(FLOATS))
    bits = 8 * NUMBERS[dtype][2]
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if "UINT" not in dtype else (0, (1 << bits) - 1)
    return rng.choice([n for n in INTS if low <= n <= high] + [low, high])


# --------------------------------------------------------------------------------- TensorProtos
def shape_json(sizes):
    return {"dim": [{"size": str(n)} for n in sizes]}


def sizes_of(shape):
    if not isinstance(shape, dict):
        return []
    sizes = []
    for dim in shape.get("dim") or []:
        try:
            sizes.append(int(dim.get("size", 0)))
        except (ValueError, AttributeError, TypeError):
            sizes.append(0)
    return sizes


def tensor_values(tensor):
    """-> (dtype, sizes, values) of a plain TensorProto, or None."""
    try:
        dtype, sizes = tensor["dtype"], sizes_of(tensor.get("tensorShape"))
        count = product(sizes)
        if dtype not in NUMBERS or not 0 <= count <= 1 << 16 or dtype in ("DT_HALF",):
            return None
        if dtype.startswith("DT_COMPLEX") and "tensorContent" not in tensor:
            return None
        if "tensorContent" in tensor:
            values = unpack(dtype, base64.b64decode(tensor["tensorContent"]))
        else:
            values = tensor.get(NUMBERS[dtype][3]) or [0]
            values = [float(v) if dtype in ("DT_FLOAT", "DT_DOUBLE") else int(v) for v in values]
        values = values + values[-1:] * (count - len(values))
        return dtype, sizes, values[:count]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, struct.error):
        return None


def tensor_json(dtype, sizes, values):
    return {"dtype": dtype, "tensorShape": shape_json(sizes),
            "tensorContent": base64.b64encode(pack(dtype, values)).decode()}


def mutate_tensor(rng, tensor):
    """Other values or shape in place; sometimes a proto that contradicts itself."""
    found = tensor_values(tensor)
    if found and rng.random() < 0.75:
        array = Array(found[0], found[1], pack(found[0], found[2]))
        array = mutate_array(rng, array)
        tensor.clear()
        tensor.update(tensor_json(array.dtype, array.shape, unpack(array.dtype, array.data)))
        return
    kind = rng.randrange(9)
    content = tensor.get("tensorContent")
    if kind == 0 and isinstance(content, str) and content:
        tensor["tensorContent"] = content[:rng.randrange(len(content))]
    elif kind == 1:
        tensor["tensorContent"] = (content or "") + "AAAA" * rng.choice([1, 2, 1000])
    elif kind == 2:
        tensor["tensorContent"] = rng.choice(["*", "AAA", "A===", "-_-_", "", 5, None])
    elif kind == 3:
        tensor["tensorShape"] = shape_json(mutate_sizes(rng, sizes_of(tensor.get("tensorShape"))))
    elif kind == 4:
        tensor["dtype"] = rng.choice(TYPES)
    elif kind == 5:
        field = rng.choice(["floatVal", "intVal", "int64Val", "stringVal", "boolVal", "halfVal",
                            "scomplexVal", "doubleVal", "uint64Val", "resourceHandleVal",
                            "variantVal"])
        tensor.pop("tensorContent", None)
        tensor[field] = [rng.choice(INTS + FLOATS + BEYOND)] * rng.choice([0, 1, 2, 3, 1000])
    elif kind == 6:
        tensor.pop("tensorContent", None)
        tensor.pop(NUMBERS.get(tensor.get("dtype"), [0] * 4)[3], None)
    elif kind == 7:
        tensor["tensorShape"] = rng.choice([{"unknownRank": True}, {}, None, 5, {"dim": [{}]}])
    elif tensor:
        tensor.pop(rng.choice(sorted(tensor)))


# ------------------------------------------------------------------------------- attrs and nodes
def nodes_of(graph):
    holder = graph.get("graphDef", graph) if isinstance(graph, dict) else None
    if not isinstance(holder, dict):
        return []
    nodes = holder.get("node")
    return nodes if isinstance(nodes, list) else []


def random_attr(rng, depth=0):
    kind = rng.randrange(10)
    if kind == 0:
        return {"i": str(rng.choice(INTS))}
    if kind == 1:
        return {"f": rng.choice(FLOATS)}
    if kind == 2:
        return {"b": rng.random() < 0.5}
    if kind == 3:
        return {"type": rng.choice(TYPES)}
    if kind == 4:
        return {"s": base64.b64encode(rng.choice(STRINGS).encode()).decode()}
    if kind == 5:
        return {"shape": rng.choice([{"unknownRank": True}, {}, shape_json([2, -1]),
                                     shape_json([rng.choice(INTS)])])}
    if kind == 6:
        return {"tensor": tensor_json(*rng.choice([("DT_INT32", [], [1]), ("DT_FLOAT", [2], [0, 1]),
                                                   ("DT_INT64", [0], [])]))}
    if kind == 7:
        return {"func": {"name": rng.choice(NAMES[:8])}}
    if kind == 8 and depth < 2:
        inner = random_attr(rng, 2)
        if not isinstance(inner, dict) or not inner:
            inner = {"i": "1"}
        key = next(iter(inner))
        return {"list": {key: [inner[key]] * rng.choice([0, 1, 2, 4, 5])}}
    return rng.choice([{}, {"list": {}}, {"placeholder": "T"}, {"i": str(rng.choice(BEYOND))},
                       {"type": 999}, {"type": 101}, {"i": "x"}, {"i": 1.5}, {"s": 3}, None, [], 7,
                       {"i": "1", "f": 2}])


def mutate_attr(rng, attr):
    """Another value of the same kind."""
    if not isinstance(attr, dict) or not attr:
        return random_attr(rng)
    kind = next(iter(attr))
    value = attr[kind]
    if kind == "i":
        try:
            near = [int(value) + 1, int(value) - 1, -int(value)]
        except (ValueError, TypeError):
            near = [0]
        return {"i": str(rng.choice(INTS + near * 6))}
    if kind == "f":
        return {"f": rng.choice(FLOATS)}
    if kind == "b":
        return {"b": not value}
    if kind == "type":
        return {"type": rng.choice(TYPES + ["DT_FLOAT", "DT_INT32", "DT_INT64", "DT_DOUBLE"] * 3)}
    if kind == "s":
        text = rng.choice(STRINGS)
        return {"s": base64.b64encode(text.encode()).decode() if rng.random() < 0.9 else "*bad"}
    if kind == "shape":
        if rng.random() < 0.3:
            return {"shape": rng.choice([{"unknownRank": True}, {}, {"dim": [{}]}, 5])}
        return {"shape": shape_json(mutate_sizes(rng, sizes_of(value)))}
    if kind == "tensor" and isinstance(value, dict):
        value = clone(value)
        mutate_tensor(rng, value)
        return {"tensor": value}
    if kind == "list" and isinstance(value, dict) and value:
        key = rng.choice(sorted(value))
        items = list(value[key]) if isinstance(value[key], list) else []
        how = rng.randrange(6)
        if how == 0 and items:
            items.pop(rng.randrange(len(items)))
        elif how == 1:
            items = items + (items[-1:] or ["1"]) * rng.choice([1, 2, 1000])
        elif how == 2:
            items = []
        elif how == 3 and items:
            rng.shuffle(items)
        elif items:
            at = rng.randrange(len(items))
            changed = mutate_attr(rng, {key: items[at]})
            if isinstance(changed, dict) and key in changed:
                items[at] = changed[key]
        return {"list": {key: items}}
    return random_attr(rng)


def type_of(node):
    """The element type of a node's output, as its attrs suggest it."""
    attrs = node.get("attr") if isinstance(node, dict) else None
    for key in ("DstT", "out_type", "output_type", "dtype", "T", "Tparams"):
        value = attrs.get(key) if isinstance(attrs, dict) else None
        if isinstance(value, dict) and isinstance(value.get("type"), str):
            return "DT_RESOURCE" if node.get("op") == "VarHandleOp" else value["type"]
    return None


class Pool:
    """What all seeds have: ops with sample nodes and the types of their inputs, names of attrs."""

    def __init__(self, seeds):
        self.samples, self.types = {}, {}
        for seed in seeds:
            nodes = [n for n in (nodes_of(seed["graph"]) if seed["graph"] else [])
                     if isinstance(n, dict) and isinstance(n.get("op"), str)]
            known = {n.get("name"): type_of(n) for n in nodes}
            for node in nodes:
                kept = self.samples.setdefault(node["op"], [])
                if len(kept) < 6 and len(json.dumps(node)) < 4000:
                    kept.append(node)
                    self.types[id(node)] = [known.get(i.split(":")[0])
                                            for i in node.get("input", []) if i[:1] != "^"]
        self.samples = {op: kept for op, kept in sorted(self.samples.items()) if kept}
        self.ops = list(self.samples)
        self.attrs = sorted({a for kept in self.samples.values() for n in kept
                             for a in (n.get("attr") or {})})


def draw_inputs(rng, case, types):
    """Tensors of a case for an op that takes these types."""
    inputs = []
    for wanted in types:
        fitting = [n.get("name") for n in case.nodes if type_of(n) == wanted]
        if not fitting or rng.random() < 0.03:
            fitting = [n.get("name", "x") for n in case.nodes] or ["x"]
        inputs.append(rng.choice(fitting))
    return inputs


class Case:
    """A graph as JSON value, or as text; the steps of its session."""

    def __init__(self, seed):
        self.seed = seed
        self.graph = clone(seed["graph"]) if seed["graph"] else None
        self.text = seed.get("text")
        self.steps = [{"feeds": dict(s["feeds"]), "fetches": list(s["fetches"]),
                       "targets": list(s["targets"])} for s in seed["steps"]]
        self.autodiff = seed.get("autodiff")
        self.raw = None  # bytes in place of the graph, with their suffix
        self.text_edits = []
        self.repeats = 0

    @property
    def nodes(self):
        return [n for n in nodes_of(self.graph) if isinstance(n, dict)]

    def node(self, rng):
        nodes = self.nodes
        return rng.choice(nodes) if nodes else {}

    def attrs(self, node):
        found = node.get("attr")
        if not isinstance(found, dict):
            found = node["attr"] = {}
        return found


def tensor_name(rng, case):
    name = case.node(rng).get("name", "x")
    return rng.choice([f"{name}", f"{name}", f"{name}:0", f"{name}:1", f"{name}:2",
                       f"{name}:{rng.choice(INTS)}"])


def m_attr_value(rng, case, pool):
    for _ in range(20):
        node = case.node(rng)
        attrs = case.attrs(node)
        if attrs:
            key = rng.choice(sorted(attrs))
            attrs[key] = mutate_attr(rng, attrs[key])
            return


def m_attr_kind(rng, case, pool):
    attrs = case.attrs(case.node(rng))
    if attrs:
        attrs[rng.choice(sorted(attrs))] = random_attr(rng)


def m_attr_drop(rng, case, pool):
    attrs = case.attrs(case.node(rng))
    if attrs:
        attrs.pop(rng.choice(sorted(attrs)))


def m_attr_add(rng, case, pool):
    key = rng.choice(pool.attrs + ["_output_shapes", "_class", "", "x" * 5000, "\u5c71", "a.b[0]"])
    case.attrs(case.node(rng))[key] = random_attr(rng)


def m_attr_twice(rng, case, pool):
    attrs = case.attrs(case.node(rng))
    if attrs:
        key = rng.choice(sorted(attrs))
        case.repeats += 1
        attrs[f"{key}@@{case.repeats}"] = mutate_attr(rng, attrs[key])


def m_output_shapes(rng, case, pool):
    sizes = mutate_sizes(rng, [rng.choice([1, 2, 3, -1])] * rng.randrange(4))
    shapes = [shape_json(sizes) if rng.random() < 0.8 else {"unknownRank": True}]
    case.attrs(case.node(rng))["_output_shapes"] = {"list": {"shape": shapes * rng.choice([0, 1, 1, 1, 2])}}


def m_type_of_node(rng, case, pool):
    node = case.node(rng)
    types = [k for k, v in case.attrs(node).items() if isinstance(v, dict) and "type" in v]
    if types:
        node["attr"][rng.choice(sorted(types))] = {"type": rng.choice(TYPES)}


def m_type_everywhere(rng, case, pool):
    """The whole graph, its constants and its feeds in another type."""
    before = rng.choice(["DT_FLOAT", "DT_FLOAT", "DT_INT32", "DT_INT64"])
    after = rng.choice(list(NUMBERS) + ["DT_STRING", "DT_BFLOAT16", "DT_VARIANT"])
    for node in case.nodes:
        for value in case.attrs(node).values():
            if not isinstance(value, dict):
                continue
            if value.get("type") == before:
                value["type"] = after
            tensor = value.get("tensor")
            if isinstance(tensor, dict) and tensor.get("dtype") == before:
                found = tensor_values(tensor)
                if found and after in NUMBERS:
                    value["tensor"] = tensor_json(after, found[1], found[2])
                else:
                    tensor["dtype"] = after
    for step in case.steps:
        for name, array in step["feeds"].items():
            if isinstance(array, Array) and array.dtype == before and after in NUMBERS:
                step["feeds"][name] = Array(after, array.shape, pack(after, unpack(before, array.data)))


def constants(case):
    return [n for n in case.nodes if n.get("op") == "Const"
            and isinstance(case.attrs(n).get("value"), dict)
            and isinstance(n["attr"]["value"].get("tensor"), dict)]


def m_constant(rng, case, pool):
    found = constants(case)
    if found:
        node = rng.choice(found)
        mutate_tensor(rng, node["attr"]["value"]["tensor"])
        # Mostly a constant that agrees with itself.
        if rng.random() < 0.8:
            node["attr"]["dtype"] = {"type": node["attr"]["value"]["tensor"].get("dtype")}


def m_small_integers(rng, case, pool):
    """A constant that says axes, sizes, indices or positions: one or all of its elements."""
    found = []
    for node in constants(case):
        plain = tensor_values(node["attr"]["value"]["tensor"])
        if plain and plain[0] in ("DT_INT32", "DT_INT64") and plain[2]:
            found.append((node, plain))
    if found:
        node, (dtype, sizes, values) = rng.choice(found)
        for _ in range(rng.choice([1, 1, 2])):
            values[rng.randrange(len(values))] = interesting(rng, dtype)
        node["attr"]["value"]["tensor"] = tensor_json(dtype, sizes, values)


def m_constant_to_feed(rng, case, pool):
    """Values that decide shapes become known only when the graph runs."""
    found = constants(case)
    if not found or not case.steps:
        return
    node = rng.choice(found)
    plain = tensor_values(node["attr"]["value"]["tensor"])
    if not plain:
        return
    dtype, sizes, values = plain
    array = Array(dtype, sizes, pack(dtype, values))
    if rng.random() < 0.7:
        array = mutate_array(rng, array)
    shape = rng.choice([{"unknownRank": True}, shape_json([-1] * len(array.shape)),
                        shape_json(array.shape)])
    node["op"], node["input"] = "Placeholder", []
    node["attr"] = {"dtype": {"type": array.dtype}, "shape": {"shape": shape}}
    for step in case.steps:
        step["feeds"][node.get("name", "")] = array


def m_unknown_shapes(rng, case, pool):
    """Placeholders that say less, so that shapes are known only when the graph runs."""
    for node in case.nodes:
        if node.get("op") == "Placeholder" and rng.random() < 0.8:
            attrs = case.attrs(node)
            shape = attrs.get("shape")
            rank = len(sizes_of(shape.get("shape"))) if isinstance(shape, dict) else 0
            attrs["shape"] = {"shape": rng.choice([{"unknownRank": True}, shape_json([-1] * rank)])}
        node.get("attr", {}).pop("_output_shapes", None) if isinstance(node.get("attr"), dict) else 0


def m_feed(rng, case, pool):
    if rng.random() < 0.5:
        m_unknown_shapes(rng, case, pool)
    for step in case.steps:
        for name in sorted(step["feeds"]):
            if isinstance(step["feeds"][name], Array) and rng.random() < 0.6:
                step["feeds"][name] = mutate_array(rng, step["feeds"][name])


HUGE = [1 << 20, 1 << 29, 1 << 30, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 33, 1 << 40, 1 << 58,
        1 << 59, 1 << 60, 1 << 61, 1 << 62, (1 << 62) + 1, (1 << 63) - 1]


def m_empty_and_huge(rng, case, pool):
    """Feeds and constants without elements whose other dimensions are huge."""
    m_unknown_shapes(rng, case, pool)

    def sizes_like(sizes):
        sizes = [rng.choice(HUGE + [n] * 8) for n in sizes]
        if not sizes or rng.random() < 0.2:
            sizes.append(rng.choice(HUGE))
        sizes[rng.randrange(len(sizes))] = 0
        return sizes

    for step in case.steps:
        shapes = {}
        for name in sorted(step["feeds"]):
            array = step["feeds"][name]
            if isinstance(array, Array) and rng.random() < 0.7:
                key = tuple(array.shape)
                shapes[key] = shapes.get(key) or sizes_like(array.shape)
                step["feeds"][name] = Array(array.dtype, shapes[key], b"")
    for node in constants(case):
        found = tensor_values(node["attr"]["value"]["tensor"])
        if found and rng.random() < 0.1:
            node["attr"]["value"]["tensor"] = tensor_json(found[0], sizes_like(found[1]), [])


def m_huge(rng, case, pool):
    """Inputs that would be huge, by what their nodes say: only a plan can refuse them."""
    shapes = {}
    for node in list(case.nodes):
        if node.get("op") != "Placeholder" or rng.random() < 0.2:
            continue
        dtype = type_of(node)
        sizes = sizes_of(case.attrs(node).get("shape", {}).get("shape"))
        if dtype not in NUMBERS or not isinstance(node.get("name"), str):
            continue
        key = tuple(sizes)
        if key not in shapes:
            shapes[key] = [rng.choice([n, n, rng.choice(HUGE[:8])]) for n in sizes]
            if sizes and rng.random() < 0.5:
                shapes[key][rng.randrange(len(sizes))] = rng.choice(HUGE)
        fill(case, node["name"], shapes[key])


def m_feed_edges(rng, case, pool):
    """Feeds that are missing, too many, or of edges inside the graph."""
    if not case.steps:
        return
    step = rng.choice(case.steps)
    if step["feeds"] and rng.random() < 0.3:
        step["feeds"].pop(rng.choice(sorted(step["feeds"])))
        return
    dtype = rng.choice(["DT_FLOAT", "DT_FLOAT", "DT_INT32", "DT_INT64", "DT_BOOL"])
    sizes = [rng.choice([0, 1, 2, 3, 4]) for _ in range(rng.randrange(4))]
    step["feeds"][tensor_name(rng, case)] = Array(
        dtype, sizes, pack(dtype, random_values(rng, dtype, product(sizes))))


def m_fetch(rng, case, pool):
    if case.steps:
        step = rng.choice(case.steps)
        for _ in range(rng.choice([1, 1, 3])):
            step[rng.choice(["fetches", "fetches", "targets"])].append(tensor_name(rng, case))


def m_step_again(rng, case, pool):
    if case.steps:
        case.steps.append(copy.deepcopy(rng.choice(case.steps)))


def inputs_of(node):
    inputs = node.get("input")
    if not isinstance(inputs, list):
        inputs = node["input"] = []
    return inputs


def m_rewire(rng, case, pool):
    node = case.node(rng)
    inputs = inputs_of(node)
    kind = rng.randrange(10)
    new = tensor_name(rng, case)
    if kind == 0:
        inputs.insert(rng.randint(0, len(inputs)), "^" + case.node(rng).get("name", ""))
    elif kind == 1:
        new = rng.choice(NAMES + ["gone", "gone:1", "^gone", ":", "^", "x:y", "x:", "::0", "a:0:0"])
        inputs.insert(rng.randint(0, len(inputs)), new)
    elif kind == 2 and inputs:
        inputs.pop(rng.randrange(len(inputs)))
    elif kind == 3 and len(inputs) > 1:
        rng.shuffle(inputs)
    elif kind == 4:
        inputs.insert(rng.randint(0, len(inputs)), node.get("name", ""))
    elif kind == 5:
        inputs.insert(rng.randint(0, len(inputs)), new)
    elif kind == 6 and inputs:
        inputs.extend(inputs[-1:] * rng.choice([1, 2, 100]))
    elif inputs:
        inputs[rng.randrange(len(inputs))] = new


def m_op(rng, case, pool):
    case.node(rng)["op"] = rng.choice(pool.ops + ["", "Unheard", "const", "_Retval", "W" * 70000])


def m_op_whole(rng, case, pool):
    """A node becomes another op with that op's attrs; its inputs stay, or are drawn."""
    node = case.node(rng)
    if not node or not pool.ops:
        return
    sample = rng.choice(pool.samples[rng.choice(pool.ops)])
    types = pool.types[id(sample)]
    node["op"], node["attr"] = sample["op"], clone(sample.get("attr", {}))
    data = [i for i in inputs_of(node) if isinstance(i, str) and i[:1] != "^"]
    node["input"] = (data + draw_inputs(rng, case, types[len(data):]))[:len(types)]


def m_op_same_inputs(rng, case, pool):
    """Another op that takes as many inputs; attrs of the old one where names agree."""
    node = case.node(rng)
    count = len(inputs_of(node)) if node else 0
    fitting = [op for op in pool.ops if len(pool.samples[op][0].get("input", [])) == count]
    if not fitting:
        return
    sample = clone(rng.choice(pool.samples[rng.choice(fitting)]))
    attrs = sample.get("attr", {})
    attrs.update({k: v for k, v in case.attrs(node).items() if k in attrs})
    node["op"], node["attr"] = sample["op"], attrs


def m_append(rng, case, pool):
    """A new node on top of others; it is fetched."""
    nodes = nodes_of(case.graph)
    if not nodes or not pool.ops:
        return
    sample = rng.choice(pool.samples[rng.choice(pool.ops)])
    name = f"added{len(nodes)}"
    nodes.append({"name": name, "op": sample["op"],
                  "input": draw_inputs(rng, case, pool.types[id(sample)]),
                  "attr": clone(sample.get("attr", {}))})
    for step in case.steps:
        step["fetches"].append(name)


def m_node_twice(rng, case, pool):
    nodes = nodes_of(case.graph)
    if nodes:
        node = clone(rng.choice(nodes))
        if isinstance(node, dict) and rng.random() < 0.5:
            node["name"] = f"twin{len(nodes)}"
        nodes.insert(rng.randint(0, len(nodes)), node)


def m_node_drop(rng, case, pool):
    nodes = nodes_of(case.graph)
    if nodes:
        nodes.pop(rng.randrange(len(nodes)))


def m_node_order(rng, case, pool):
    rng.shuffle(nodes_of(case.graph))


def m_node_field(rng, case, pool):
    node = case.node(rng)
    if rng.random() < 0.4:
        node["name"] = rng.choice(NAMES)
    else:
        field = rng.choice(["name", "op", "input", "attr", "device", "experimentalDebugInfo", "zzz"])
        node[field] = rng.choice([None, [], {}, 5, "x", [None], [[]], {"a": None}, True, 1e999,
                                  ["a", 3]])


def m_deep(rng, case, pool):
    depth = rng.choice([5, 20, 33, 49, 50, 51, 99, 100, 101, 150])
    func = {"name": "f"}
    for _ in range(depth):
        func = {"name": "f", "attr": {"g": rng.choice([{"func": func}, {"list": {"func": [func]}}])}}
    case.attrs(case.node(rng))["deep"] = {"func": func}


def m_big(rng, case, pool):
    node = case.node(rng)
    kind = rng.randrange(5)
    if kind == 0:
        node["name"] = "n" * rng.choice([1000, 1 << 20])
    elif kind == 1:
        case.attrs(node)["big"] = {"s": "QUFB" * (1 << 18)}
    elif kind == 2:
        case.attrs(node)["big"] = {"list": {"i": ["1"] * 100000}}
    elif kind == 3:
        node["input"] = inputs_of(node) + ["^" + case.node(rng).get("name", "")] * 20000
    else:
        nodes_of(case.graph).extend({"name": f"many{i}", "op": "NoOp"} for i in range(5000))


def m_meta(rng, case, pool):
    """Signatures, collections, versions and the function library."""
    if "graphDef" not in case.graph:
        case.graph = {"graphDef": case.graph}
    top = case.graph
    kind = rng.randrange(9)
    info = rng.choice([{"name": tensor_name(rng, case), "dtype": rng.choice(TYPES),
                        "tensorShape": shape_json([rng.choice(INTS)])},
                       {"name": "gone:0"}, {"name": 5}, {}, None, {"cooSparse": {}},
                       {"name": tensor_name(rng, case)}])
    signatures = top.setdefault("signatureDef", {})
    if kind <= 2 and isinstance(signatures, dict):
        key = rng.choice(sorted(signatures) + ["init", "train", "generate", "serving_default", ""])
        entry = signatures.setdefault(key, {})
        if isinstance(entry, dict):
            side = entry.setdefault(rng.choice(["inputs", "outputs"]), {})
            if isinstance(side, dict):
                side[rng.choice(sorted(side) + ["loss", "token", "state_0", ""])] = info
    elif kind == 3:
        top["signatureDef"] = rng.choice([None, [], 5, {"a": 5}, {"a": {"inputs": []}}, {"a": None}])
    elif kind <= 6:
        key = rng.choice(["variables", "trainable_variables", "global_step", "weft/vocabulary",
                          "weft/text", "train_op", "while_context", "x" * 1000])
        raw = bytes(rng.randrange(256) for _ in range(rng.randrange(40)))
        value = rng.choice([
            {"bytesList": {"value": [base64.b64encode(raw).decode()] * 3}},
            {"bytesList": {"value": ["CgN4OjASCHgvQXNzaWdu"]}},
            {"nodeList": {"value": ["gone", tensor_name(rng, case)]}},
            {"int64List": {"value": ["1", "x"]}}, {"floatList": {"value": FLOATS}},
            {"anyList": {"value": [{"@type": "x", "value": "AA=="}]}}, {"bytesList": {"value": ["*"]}},
            {}, None, 5, {"nodeList": {}, "bytesList": {}}])
        top.setdefault("collectionDef", {})
        if isinstance(top["collectionDef"], dict):
            top["collectionDef"][key] = value
    elif kind == 7:
        top["graphDef"]["library"] = rng.choice([
            {"function": [{"signature": {"name": "f"}, "nodeDef": [{"name": "a", "op": "f"}]}] * 2},
            {"function": [{}]}, {"function": 5}, {"gradient": [{"functionName": "f"}]}, None])
    else:
        top["graphDef"]["versions"] = rng.choice([
            {"producer": 1 << 31}, {"producer": -1}, {"minConsumer": 99999}, {"badConsumers": [1] * 9},
            5, None])
        top["metaInfoDef"] = rng.choice([{"tags": 5}, {"strippedOpList": {"op": [{}]}}, None, {}])


def m_library(rng, case, pool):
    """Nodes of functions, damaged as nodes of the graph are."""
    holder = case.graph.get("graphDef", case.graph)
    functions = (holder.get("library") or {}).get("function") if isinstance(holder, dict) else None
    if not isinstance(functions, list) or not functions:
        return m_attr_value(rng, case, pool)
    body = rng.choice(functions)
    if isinstance(body, dict) and isinstance(body.get("nodeDef"), list) and body["nodeDef"]:
        inner = Case({"graph": {"node": body["nodeDef"]}, "steps": []})
        rng.choice([m_attr_value, m_rewire, m_op, m_node_drop, m_attr_drop, m_small_integers])(
            rng, inner, pool)
        body["nodeDef"] = inner.graph["node"]
    if rng.random() < 0.3 and isinstance(body, dict):
        body[rng.choice(["ret", "controlRet", "signature", "attr", "argAttr"])] = rng.choice(
            [None, {}, {"x": "gone:out:0"}, 5, {"name": "f", "inputArg": [{"name": "i"}] * 3}])


# ------------------------------------------------------------------------------- one place at a time
EXTREMES = [-(1 << 63), -(1 << 31), -1, 0, 1, 3, 100, (1 << 31) - 1, 1 << 31, 1 << 61, 1 << 62,
            (1 << 63) - 1]


def extremes(dtype):
    bits = 8 * NUMBERS[dtype][2]
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if "UINT" not in dtype else (0, (1 << bits) - 1)
    return sorted({n for n in EXTREMES if low <= n <= high} | {low, low + 1, high})


def places(seed):
    """Every integer of a seed that a sweep changes: (what, where ..., new value)."""
    found = []
    for at, node in enumerate(nodes_of(seed["graph"]) if seed["graph"] else []):
        attrs = node.get("attr") or {}
        for key in sorted(attrs):
            value = attrs[key] if isinstance(attrs[key], dict) else {}
            if "i" in value:
                found += [("attr", at, key, None, n) for n in EXTREMES]
            items = value.get("list", {}).get("i", []) if isinstance(value.get("list"), dict) else []
            for position in range(min(4, len(items))):
                found += [("attr", at, key, position, n) for n in EXTREMES]
            if "shape" in value:
                for axis in range(len(sizes_of(value["shape"]))):
                    found += [("shape", at, key, axis, n) for n in (-1, 0, 1 << 31, 1 << 56, 1 << 62)]
        if node.get("op") == "Const":
            plain = tensor_values(attrs.get("value", {}).get("tensor"))
            if plain and plain[0] in NUMBERS and "INT" in plain[0]:
                for position in range(min(4, len(plain[2]))):
                    for n in extremes(plain[0]):
                        found += [("constant", at, position, n), ("late", at, position, n)]
    for at, step in enumerate(seed["steps"]):
        for name in sorted(step["feeds"]):
            array = step["feeds"][name]
            if "INT" in array.dtype:
                for position in range(min(4, product(array.shape))):
                    found += [("feed", at, name, position, n) for n in extremes(array.dtype)]
            for axis in range(len(array.shape)):
                found += [("empty", name, axis, n) for n in (0, 1, 1 << 31, 1 << 61, (1 << 63) - 1)]
                found += [("huge", name, axis, n) for n in (1 << 40, 1 << 55, 1 << 62)]
    return found


def change(case, place):
    """Makes the one change that `places` names."""
    nodes, what = nodes_of(case.graph), place[0]
    if what == "attr":
        _, at, key, position, n = place
        if position is None:
            nodes[at]["attr"][key] = {"i": str(n)}
        else:
            nodes[at]["attr"][key]["list"]["i"][position] = str(n)
    elif what == "shape":
        _, at, key, axis, n = place
        nodes[at]["attr"][key]["shape"]["dim"][axis] = {"size": str(n)}
    elif what in ("constant", "late"):
        _, at, position, n = place
        dtype, sizes, values = tensor_values(nodes[at]["attr"]["value"]["tensor"])
        values[position] = n
        if what == "constant":
            nodes[at]["attr"]["value"]["tensor"] = tensor_json(dtype, sizes, values)
        else:
            nodes[at].update({"op": "Placeholder", "input": [], "attr": {
                "dtype": {"type": dtype}, "shape": {"shape": shape_json(sizes)}}})
            for step in case.steps:
                step["feeds"][nodes[at]["name"]] = Array(dtype, sizes, pack(dtype, values))
    elif what == "feed":
        _, at, name, position, n = place
        array = case.steps[at]["feeds"][name]
        values = unpack(array.dtype, array.data)
        values[position] = n
        case.steps[at]["feeds"][name] = Array(array.dtype, array.shape, pack(array.dtype, values))
    else:
        _, name, axis, n = place
        like = [s["feeds"][name].shape for s in case.steps if name in s["feeds"]][0]
        for step in case.steps:
            for other, array in list(step["feeds"].items()):
                # What has the same shape follows, so that elementwise ops still agree.
                if array.shape == like and (other == name or what == "empty" or n % 3):
                    shape = list(like)
                    if what == "empty":
                        shape[axis] = 0
                        if len(shape) > 1:
                            shape[axis - 1] = n
                        step["feeds"][other] = Array(array.dtype, shape, b"")
                    else:
                        shape[axis] = n
                        fill(case, other, shape)
        if what == "empty":
            for node in nodes:
                if node.get("op") == "Placeholder":
                    case.attrs(node)["shape"] = {"shape": {"unknownRank": True}}
    for node in nodes:
        if isinstance(node.get("attr"), dict):
            node["attr"].pop("_output_shapes", None)


def fill(case, name, sizes):
    """The placeholder becomes a Fill of these sizes."""
    nodes = nodes_of(case.graph)
    node = next((n for n in nodes if n.get("name") == name), None)
    dtype = type_of(node) if node else None
    if dtype not in NUMBERS or node.get("op") != "Placeholder":
        return
    nodes.append({"name": name + "/sizes", "op": "Const", "attr": {
        "dtype": {"type": "DT_INT64"},
        "value": {"tensor": tensor_json("DT_INT64", [len(sizes)], sizes)}}})
    nodes.append({"name": name + "/value", "op": "Const", "attr": {
        "dtype": {"type": dtype}, "value": {"tensor": tensor_json(dtype, [], [1])}}})
    node.update({"op": "Fill", "input": [name + "/sizes", name + "/value"], "attr": {
        "T": {"type": dtype}, "index_type": {"type": "DT_INT64"}}})
    for step in case.steps:
        step["feeds"].pop(name, None)


TOKENS = [b"NaN", b"Infinity", b"-Infinity", b"-0", b"1e999", b"00", b"+1", b".5", b"0x10", b"null",
          b"true", b'"\\u0000"', b'"\\ud800"', b'"\\udc00\\ud800"', b"\xff", b"\xc0\x80", b"\xed\xa0\x80",
          b"\xef\xbb\xbf", b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"//c", b"/*", b"'", b"\0",
          b"1234567890123456789012345678901234567890", b"[" * 5000, b'{"a":' * 5000, b"<", b">", b"-"]


def damage(rng, data):
    """Bytes changed without regard to what they mean."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        if not data:
            break
        kind = rng.randrange(9)
        at = rng.randrange(len(data))
        if kind == 0:
            del data[at:]
        elif kind == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[at] = rng.randrange(256)
        elif kind == 3:
            del data[at:at + rng.choice([1, 2, 8, 100])]
        elif kind == 4:
            data[at:at] = data[at:at + rng.choice([1, 8, 100, 1000])]
        elif kind == 5:
            data[at:at] = rng.choice(TOKENS)
        elif kind == 6:
            data[at:at + 1] = rng.choice(TOKENS)
        elif kind == 7:
            data[at:at] = rng.choice([b"\x80" * 10, b"\xff" * 9 + b"\x01", b"\xff\xff\xff\xff\x0f",
                                      b"\x0b", b"\x0c", b"\x1f" * 4, b"\x0b" * 20000])
        else:
            numbers = list(re.finditer(rb"-?\d+", bytes(data[at:at + 5000])))
            if numbers:
                hit = rng.choice(numbers)
                data[at + hit.start():at + hit.end()] = str(rng.choice(INTS + BEYOND)).encode()
    return bytes(data)


MUTATORS = [
    (12, m_attr_value), (3, m_attr_kind), (3, m_attr_drop), (2, m_attr_add), (1, m_attr_twice),
    (2, m_output_shapes), (3, m_type_of_node), (6, m_type_everywhere), (8, m_constant),
    (20, m_small_integers), (16, m_constant_to_feed), (8, m_unknown_shapes), (16, m_feed),
    (4, m_feed_edges), (4, m_fetch), (4, m_step_again), (7, m_rewire), (2, m_op), (8, m_op_whole),
    (8, m_op_same_inputs), (16, m_append), (8, m_empty_and_huge),
    (5, m_huge), (1, m_node_twice), (1, m_node_drop), (1, m_node_order),
    (2, m_node_field), (1, m_deep), (1, m_big), (4, m_meta), (2, m_library)]


# ------------------------------------------------------------------------------------------ seeds
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


# ------------------------------------------------------------------------------------------ cases
class Maker:
    def __init__(self, weft, seeds, seed, work, only=""):
        self.weft, self.seeds, self.seed, self.work = weft, seeds, seed, work
        self.pool = Pool(seeds)
        chosen = [(w, m) for w, m in MUTATORS if re.search(only, m.__name__)]
        self.weights = [w for w, _ in chosen]
        self.mutators = [m for _, m in chosen]
        self.converted = {}
        self.unfit, self.places = 0, []
        self.lock = threading.Lock()

    def bytes_of(self, index, suffix):
        """The seed as .pb or .pbtxt, by `weft convert`; None when it does not convert."""
        with self.lock:
            if (index, suffix) not in self.converted:
                source = os.path.join(self.work, f"seed{index}.json")
                target = os.path.join(self.work, f"seed{index}.{suffix}")
                seed = self.seeds[index]
                with open(source, "w", encoding="utf-8") as f:
                    f.write(json.dumps(seed["graph"]) if seed["graph"] else seed["text"])
                subprocess.run([self.weft, "convert", source, target], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
                data = None
                if os.path.exists(target):
                    with open(target, "rb") as f:
                        data = f.read()
                self.converted[index, suffix] = data
            return self.converted[index, suffix]

    def sweep(self):
        """All changes of one place; -> their number."""
        self.places = [(at, place) for at, seed in enumerate(self.seeds) for place in places(seed)]
        random.Random(self.seed).shuffle(self.places)
        return len(self.places)

    def make(self, number):
        """-> (case, suffix, bytes of the graph, action)"""
        if self.places:
            index, place = self.places[number]
            case = Case(self.seeds[index])
            change(case, place)
            # A quarter of those that can be are differentiated by Weft first.
            action = "grad" if case.autodiff and number % 4 == 0 else "run"
            return case, "json", self.serialize(case), action
        rng = random.Random(f"{self.seed}:{number}")
        index = rng.randrange(len(self.seeds))
        seed = self.seeds[index]
        case = Case(seed)
        actions = ["run"] * 14 + ["convert"] * 3 + (["grad"] * 4 if case.autodiff else ["grad"])
        action = rng.choice(actions)
        form = rng.choices(["json", "text", "pb", "pbtxt"], [88, 4, 5, 3])[0]
        if form in ("pb", "pbtxt"):
            data = self.bytes_of(index, form)
            if data is None:
                form = "text"
            else:
                if rng.random() < 0.3 and case.graph:
                    try:
                        m_feed(rng, case, self.pool)
                    except Exception:  # noqa: BLE001
                        self.unfit += 1
                return case, form, damage(rng, data), action
        if form == "text" or case.graph is None:
            text = case.text if case.text and rng.random() < 0.3 else json.dumps(case.graph or {})
            return case, "json", damage(rng, text.encode("utf-8", "surrogatepass")), action
        for _ in range(rng.choice([1, 1, 1, 2, 2, 4])):
            try:
                rng.choices(self.mutators, self.weights)[0](rng, case, self.pool)
            except Exception:  # noqa: BLE001
                self.unfit += 1  # an earlier change left something that is no graph
        return case, "json", self.serialize(case), action

    @staticmethod
    def serialize(case):
        text = json.dumps(case.graph, ensure_ascii=False)
        if case.repeats:
            text = re.sub(r'@@\d+"', '"', text)
        return text.encode("utf-8", "surrogatepass")

    def write(self, number, folder, prefix=""):
        """The files of a case in `folder`; -> its lines of a manifest."""
        case, suffix, data, action = self.make(number)
        return write_case(case, suffix, data, action, folder, f"{prefix}{number}",
                          random.Random(f"{self.seed}:{number}:jobs"))


def write_case(case, suffix, data, action, folder, name, rng):
    graph = f"{name}.{suffix}"
    with open(os.path.join(folder, graph), "wb") as f:
        f.write(data)
    steps = []
    for at, step in enumerate(case.steps):
        feeds = {}
        for position, (key, array) in enumerate(step["feeds"].items()):
            file = f"{name}.{at}.{position}.npy"
            content = array.npy()
            if rng.random() < 0.01:
                content = damage(rng, content)
            with open(os.path.join(folder, file), "wb") as f:
                f.write(content)
            feeds[key] = file
        steps.append({"feeds": feeds, "fetches": {t: None for t in step["fetches"] if t},
                      "targets": step["targets"], "may_fail": True})
    run = {"id": f"{name}", "action": "run", "graph": graph, "steps": steps}
    if action == "run":
        return [run]
    first = {"id": f"{name}+", "graph": graph}
    if action == "convert":
        target = f"{name}.out.{rng.choice(['json', 'pb', 'pbtxt', 'dot'])}"
        first.update({"action": "convert", "to": target})
    else:
        target = f"{name}.out.json"
        placeholders = [n.get("name") for n in case.nodes if n.get("op") == "Placeholder"]
        diff = case.autodiff or {
            "ys": [t for s in case.steps for t in s["fetches"]][:1],
            "xs": [p for p in placeholders if isinstance(p, str)][:3]}
        first.update({"action": "grad", "to": target, "ys": diff.get("ys") or [],
                      "xs": diff.get("xs") or [], "grad_ys": diff.get("grad_ys") or [],
                      "names": [f"grad_of_{i}" for i in range(len(diff.get("xs") or []))]})
        if steps:
            steps[-1]["fetches"].update({n: None for n in first["names"]})
    run["graph"] = target
    return [first, run]


# ------------------------------------------------------------------------------------------ runs
DATA_LIMIT = 12 << 30


def limits():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_LIMIT, DATA_LIMIT))


def peak(pid):
    """(most resident bytes so far, processor seconds used)"""
    try:
        with open(f"/proc/{pid}/status") as f:
            status = f.read()
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        found = re.search(r"VmHWM:\s+(\d+)", status)
        return (int(found[1]) << 10 if found else 0,
                (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
    except (OSError, IndexError):
        return 0, 0.0


def run_jobs(options, lines, folder, manifest="manifest.jsonl"):
    """Runs a manifest. -> ({id: result}, None or how the process failed)"""
    results = os.path.join(folder, "results.jsonl")
    with open(os.path.join(folder, manifest), "w", encoding="utf-8") as f:
        f.writelines(json.dumps(line) + "\n" for line in lines)
    open(results, "w").close()
    environment = dict(os.environ, SWIFT_BACKTRACE="enable=no")
    with open(os.path.join(folder, "stderr.txt"), "wb") as log:
        process = subprocess.Popen(
            [options.weft, "batch", manifest, "--results", "results.jsonl"], cwd=folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, preexec_fn=limits,
            env=environment)
        failure, size, last = None, -1, time.time()
        while failure is None:
            try:
                process.wait(0.02)
                break
            except subprocess.TimeoutExpired:
                pass
            memory, _ = peak(process.pid)
            now, length = time.time(), os.path.getsize(results)
            if length != size:
                size, last = length, now
            if memory > options.memory << 20:
                failure = ("memory", f"{memory >> 20} MiB resident")
            elif now - last > options.timeout:
                failure = ("hang", f"no result for {options.timeout:g} s")
        if failure:
            process.kill()
            process.wait()
    found = {}
    with open(results, encoding="utf-8", errors="replace") as f:
        for line in f:
            try:
                result = json.loads(line)
                found[result["id"]] = result
            except (ValueError, KeyError, TypeError):
                pass
    if failure is None and process.returncode != 0:
        with open(os.path.join(folder, "stderr.txt"), "rb") as f:
            tail = f.read()[-400:].decode("utf-8", "replace").strip()
        if process.returncode < 0:
            failure = ("crash", f"signal {-process.returncode} {tail}")
        else:
            failure = ("crash", f"exit {process.returncode} {tail}")
    return found, failure


def stack(options, folder, kind):
    """Where a case dies: the functions of the project on the stack, innermost first."""
    if shutil.which("gdb") is None:
        return []
    command = [options.weft, "batch", "job.jsonl", "--results", "results.jsonl"]
    open(os.path.join(folder, "results.jsonl"), "w").close()
    orders = ["-ex", "set pagination off", "-ex", "set print thread-events off"]
    interrupt = kind != "crash"
    try:
        process = subprocess.Popen(
            ["gdb", "-q", "-batch", *orders, "-ex", "run", "-ex", "thread apply all bt 30",
             "--args", *command], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, preexec_fn=limits,
            env=dict(os.environ, SWIFT_BACKTRACE="enable=no", DEBUGINFOD_URLS=""))
        if interrupt:
            threading.Timer(4.0, lambda: interrupt_child(process.pid)).start()
        try:
            text = process.communicate(timeout=60)[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            process.kill()
            return []
    except OSError:
        return []
    blocks = re.split(r"\nThread \d+ ", text)
    names = []
    for block in blocks[1:]:
        frames = re.findall(r"#\d+\s+(?:0x[0-9a-f]+ in )?(.+?) \(.*", block)
        if any("__futex" in f or "pthread_cond" in f or "__lll_lock" in f for f in frames[:4]):
            continue
        for frame in frames:
            # Swift names, mangled or not, of the project's modules; C kernels as they are.
            if "Weft" in frame or "$s" in frame or "weft" in frame:
                names.append(demangle(frame))
    return names[:12]


def interrupt_child(pid):
    try:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with open(f"/proc/{entry}/stat") as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
                if parent == pid:
                    os.kill(int(entry), 2)
    except (OSError, ValueError, IndexError):
        pass


def demangle(name):
    if not name.startswith("$s"):
        return name[:160]
    found = shutil.which("swift-demangle")
    if not found:
        return name[:160]
    out = subprocess.run([found, "-compact", "-simplified", name], stdout=subprocess.PIPE,
                         stdin=subprocess.DEVNULL)
    return out.stdout.decode("utf-8", "replace").strip()[:160]


VERBS = [["show"], ["show", "--nodes", "--json"], ["plan"], ["plan", "--json"], ["plan", "--dot"],
         ["run"], ["run", "--steps", "2", "--init", "always"], ["convert"], ["diff"], ["generate"]]


def run_verb(options, verb, graph, folder):
    """Runs another verb than batch on a graph. -> None or how it failed"""
    command = [options.weft, verb[0], graph, *verb[1:]]
    if verb[0] == "convert":
        command.append("verb.out.json")
    elif verb[0] == "diff":
        command.append(graph)
    with open(os.path.join(folder, "stderr.txt"), "wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
            preexec_fn=limits, env=dict(os.environ, SWIFT_BACKTRACE="enable=no"))
        started = time.time()
        while True:
            try:
                process.wait(0.01)
                break
            except subprocess.TimeoutExpired:
                pass
            memory, _ = peak(process.pid)
            failure = None
            if memory > options.memory << 20:
                failure = ("memory", f"{memory >> 20} MiB resident: {' '.join(command[1:])}")
            elif time.time() - started > options.timeout:
                failure = ("hang", f"no end after {options.timeout:g} s: {' '.join(command[1:])}")
            if failure:
                process.kill()
                process.wait()
                return failure
    if process.returncode not in (0, 1, 2, 64, 65, 66, 73, 74):
        return ("crash", f"exit {process.returncode}: {' '.join(command[1:])}")
    return None


class Runner:
    def __init__(self, options, maker):
        self.options, self.maker = options, maker
        self.lock = threading.Lock()
        self.failures, self.seen, self.untyped = [], {}, {}
        self.passed, self.ok, self.errors = 0, 0, {}

    def chunk(self, numbers):
        """Runs cases in one process, and again from the one it died at."""
        folder = tempfile.mkdtemp(dir=self.maker.work)
        lines = []
        for number in numbers:
            lines += self.maker.write(number, folder)
        failed = set()
        todo = lines
        while todo:
            found, failure = run_jobs(self.options, todo, folder)
            self.note(found)
            if failure is None:
                break
            at = next((i for i, line in enumerate(todo) if line["id"] not in found), None)
            if at is None:
                break  # it failed after its last result; the next lines show what it was
            number = int(todo[at]["id"].rstrip("+"))
            self.guilty(number, failure, [int(x["id"].rstrip("+")) for x in todo[:at]])
            failed.add(number)
            todo = [x for x in todo[at + 1:] if int(x["id"].rstrip("+")) != number]
        for number in numbers:
            rng = random.Random(f"{self.options.seed}:{number}:verb")
            if number not in failed and rng.random() < self.options.verbs:
                failure = self.verb(number, rng, folder)
                if failure:
                    failed.add(number)
        shutil.rmtree(folder, ignore_errors=True)
        with self.lock:
            self.passed += len(numbers) - len(failed)

    def verb(self, number, rng, folder):
        graphs = glob.glob(os.path.join(folder, f"{number}.[jp]*"))
        verb = rng.choice(VERBS)
        failure = run_verb(self.options, verb, os.path.basename(graphs[0]), folder)
        if failure is None:
            return None
        signature = f"{failure[0]} of weft {' '.join(verb)}"
        kept = os.path.join(self.options.out, f"case-{self.options.seed}-{number}-verb")
        os.makedirs(kept, exist_ok=True)
        shutil.copy(graphs[0], kept)
        with open(os.path.join(kept, "how.txt"), "w", encoding="utf-8") as f:
            f.write(f"{signature}\n{failure[1]}\n")
        with self.lock:
            if signature not in self.seen:
                print(f"case {number}: {signature}", file=sys.stderr, flush=True)
            self.seen.setdefault(signature, []).append(number)
            self.failures.append((number, signature))
        return failure

    def note(self, found):
        """Counts how cases end; keeps errors that are not typed ones."""
        with self.lock:
            for result in found.values():
                messages = [result.get("message")] + [s.get("error") for s in result.get("steps") or []]
                self.ok += not any(messages)
                for message in filter(None, messages):
                    code = re.match(r"error\[(\w+)\]", message)
                    key = code[1] if code else "untyped"
                    self.errors[key] = self.errors.get(key, 0) + 1
                    if key in ("untyped", "Internal"):
                        short = re.sub(r"\d+", "N", message.split("\n")[0])[:160]
                        self.untyped.setdefault(short, []).append(result["id"])

    def guilty(self, number, failure, before):
        folder = os.path.join(self.options.out, f"case-{self.options.seed}-{number}")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        lines = self.maker.write(number, folder)
        _, again = run_jobs(self.options, lines, folder, "job.jsonl")
        alone = again is not None
        frames = []
        if alone:
            frames = stack(self.options, folder, again[0])
        kind, how = again or failure
        signature = f"{kind} | " + (" < ".join(frames[:4]) if frames else how)
        small = None
        if alone and kind == "memory":
            # Where it stands when the limit is passed is chance; the ops that are left are not.
            small = self.minimize(number, kind)
            if small:
                left = {n.get("op") for n in small[0].nodes} - {"Const", "Placeholder", "Identity"}
                signature = f"memory | {' '.join(sorted(map(str, left)))}"
        if not alone:
            signature = f"{kind}, not when alone | {how}"
        with self.lock:
            is_new = signature not in self.seen
            self.seen.setdefault(signature, []).append(number)
            self.failures.append((number, signature))
        if is_new and alone:
            if small is None:
                small = self.minimize(number, kind)
            if small:
                for file in glob.glob(os.path.join(folder, "*")):
                    os.remove(file)
                write_case(*small, folder, str(number), random.Random(0))
                lines = write_case(*small, folder, str(number), random.Random(0))
                run_jobs(self.options, lines, folder, "job.jsonl")
        with open(os.path.join(folder, "how.txt"), "w", encoding="utf-8") as f:
            f.write(f"{signature}\n{how}\nseed of the graph: {self.maker.make(number)[0].seed['id']}\n")
            f.writelines(f"  {frame}\n" for frame in frames)
            if not alone:
                f.write("It passed when run alone. Cases before it in its process: "
                        + " ".join(map(str, before)) + "\n")
        if is_new:
            print(f"case {number}: {signature}", file=sys.stderr, flush=True)

    def minimize(self, number, kind):
        """Fewer steps, nodes, attrs and feeds as long as the case fails in the same way."""
        case, suffix, data, action = self.maker.make(number)
        if suffix != "json" or case.graph is None or data != Maker.serialize(case):
            return None
        folder = tempfile.mkdtemp(dir=self.maker.work)
        tries = {"crash": 150, "memory": 60, "hang": 12}[kind]
        deadline = time.time() + (60 if kind == "hang" else 30)

        def fails(candidate):
            nonlocal tries
            if tries <= 0 or time.time() > deadline:
                return False
            tries -= 1
            for file in glob.glob(os.path.join(folder, "*")):
                os.remove(file)
            lines = write_case(candidate, suffix, Maker.serialize(candidate), action, folder, "m",
                               random.Random(0))
            _, failure = run_jobs(self.options, lines, folder, "job.jsonl")
            return failure is not None and failure[0] == kind

        if not fails(case):
            shutil.rmtree(folder, ignore_errors=True)
            return None

        def attempt(change):
            nonlocal case
            candidate = copy.deepcopy(case)
            if change(candidate) is not False and fails(candidate):
                case = candidate
                return True
            return False

        for at in reversed(range(len(case.steps))):
            if len(case.steps) > 1:
                attempt(lambda c, at=at: c.steps.pop(at))
        for at in range(len(case.steps)):
            for kind_of in ("fetches", "targets"):
                for name in list(case.steps[at][kind_of]):
                    attempt(lambda c, at=at, k=kind_of, n=name: c.steps[at][k].remove(n))
        if "graphDef" in case.graph:
            attempt(lambda c: setattr(c, "graph", c.graph["graphDef"]))
        for key in [k for k in case.graph if k not in ("node", "graphDef")]:
            attempt(lambda c, k=key: c.graph.pop(k))
        width = max(1, len(nodes_of(case.graph)) // 2)
        while width >= 1:
            start = 0
            while start < len(nodes_of(case.graph)):
                def cut(c, start=start, width=width):
                    del nodes_of(c.graph)[start:start + width]
                if not attempt(cut):
                    start += width
            width //= 2
        for at in range(len(case.steps)):
            for name in list(case.steps[at]["feeds"]):
                attempt(lambda c, at=at, n=name: c.steps[at]["feeds"].pop(n))
        shutil.rmtree(folder, ignore_errors=True)
        return case, suffix, Maker.serialize(case), action


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft", help="the weft command")
    parser.add_argument("seeds", nargs="*", help="graph files, or folders of them")
    parser.add_argument("--cases", help="a folder of conformance cases")
    parser.add_argument("--count", type=int, help="2000; with --sweep all")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=200, help="cases to a process")
    parser.add_argument("--memory", type=int, default=1024, help="MiB that a process may use")
    parser.add_argument("--data", type=int, default=12 << 10,
                        help="MiB after which the system gives a process no more")
    parser.add_argument("--timeout", type=float, default=5, help="seconds without a result")
    parser.add_argument("--sweep", action="store_true", help="instead of random changes, every "
                        "integer of every seed in turn at the limits of its type; --count of them")
    parser.add_argument("--only", default="", help="only changes whose function matches this")
    parser.add_argument("--verbs", type=float, default=0.05,
                        help="share of cases that another verb reads too, in a process of its own")
    parser.add_argument("--out", default="mutated", help="where failed cases are kept")
    options = parser.parse_args()
    sys.setrecursionlimit(4000)
    global DATA_LIMIT
    DATA_LIMIT = options.data << 20
    options.weft = os.path.abspath(options.weft)
    options.out = os.path.abspath(options.out)
    paths = options.seeds or [p for p in (os.path.join(ROOT, "graphs"),
                                          os.path.join(ROOT, "Tests", "Data", "seeds"))
                              if os.path.isdir(p)]
    seeds = list(seeds_of_files(paths))
    if options.cases:
        seeds += list(seeds_of_cases(options.cases))
    if not seeds:
        parser.error("there are no seeds")
    os.makedirs(options.out, exist_ok=True)
    started = time.time()
    with tempfile.TemporaryDirectory(prefix="mutate") as work:
        maker = Maker(options.weft, seeds, options.seed, work, options.only)
        runner = Runner(options, maker)
        if options.sweep:
            total = maker.sweep()
            options.count = min(total, options.first + (options.count or total)) - options.first
            print(f"{total} changes of one place", file=sys.stderr, flush=True)
        options.count = 2000 if options.count is None else options.count
        last = options.first + options.count
        chunks = [range(at, min(at + options.chunk, last))
                  for at in range(options.first, last, options.chunk)]
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for done, _ in enumerate(pool.map(runner.chunk, chunks), 1):
                if done % 25 == 0:
                    print(f"{done * options.chunk} cases, {len(runner.failures)} failed, "
                          f"{time.time() - started:.0f} s", file=sys.stderr, flush=True)
    report = {"seed": options.seed, "count": options.count, "passed": runner.passed,
              "ran_without_error": runner.ok, "errors": runner.errors,
              "failures": runner.seen,
              "errors without a place": {k: v[:5] for k, v in sorted(runner.untyped.items())}}
    with open(os.path.join(options.out, f"report-{options.seed}.json"), "w", encoding="utf-8") as f:
        json.dump(report, f, indent=1, ensure_ascii=False)
    for signature, numbers in sorted(runner.seen.items(), key=lambda x: -len(x[1])):
        print(f"{len(numbers):6}  {signature}   case {numbers[0]}")
    print(f"{len(seeds)} seeds, {maker.unfit} changes did not apply; {runner.ok} results without an error, errors: "
          + ", ".join(f"{k} {v}" for k, v in sorted(runner.errors.items())))
    print(f"{runner.passed} passed, {len(runner.failures)} failed")
    sys.exit(1 if runner.failures else 0)


if __name__ == "__main__":
    main()
