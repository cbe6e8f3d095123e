"""Changes of how a graph is built: inputs, ops, nodes, functions, signatures, collections."""
import base64

from .graphs import Case, draw_inputs, inputs_of, nodes_of, tensor_name
from .tensors import FLOATS, INTS, NAMES, TYPES, clone, shape_json
from .values import m_attr_drop, m_attr_value, m_small_integers


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
