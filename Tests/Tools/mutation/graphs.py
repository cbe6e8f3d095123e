"""A graph as a JSON value with the steps of its session; other values for its attrs."""
import base64
import json

from .tensors import (BEYOND, FLOATS, INTS, NAMES, NUMBERS, STRINGS, TYPES, clone, mutate_sizes,
                      mutate_tensor, shape_json, sizes_of, tensor_json)


def nodes_of(graph):
    holder = graph.get("graphDef", graph) if isinstance(graph, dict) else None
    if not isinstance(holder, dict):
        return []
    nodes = holder.get("node")
    return nodes if isinstance(nodes, list) else []


def ops_of(graph):
    """Names of all ops, those in functions too."""
    holder = graph.get("graphDef", graph) if isinstance(graph, dict) else {}
    functions = (holder.get("library") or {}).get("function") or []
    return {node.get("op") for node in nodes_of(graph)
            + [node for f in functions for node in f.get("nodeDef") or []]}


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


def inputs_of(node):
    inputs = node.get("input")
    if not isinstance(inputs, list):
        inputs = node["input"] = []
    return inputs


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
