"""The sweep: every integer of a seed in turn at the limits of its type, one change to a case."""
from .graphs import fill, nodes_of
from .tensors import (NUMBERS, Array, pack, product, shape_json, sizes_of, tensor_json,
                      tensor_values, unpack)

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


def forget_shapes(case, keep_rank):
    """Placeholders that do not say their sizes: what rules cannot check before a graph runs."""
    for node in case.nodes:
        shape = case.attrs(node).get("shape")
        if node.get("op") == "Placeholder" and isinstance(shape, dict):
            sizes = sizes_of(shape.get("shape"))
            forgotten = shape_json([-1] * len(sizes)) if keep_rank else {"unknownRank": True}
            node["attr"]["shape"] = {"shape": forgotten}
