"""Changes of what a graph says in place: attrs, constants, feeds and fetches."""
import copy

from .graphs import fill, mutate_attr, random_attr, tensor_name, type_of
from .tensors import (NUMBERS, TYPES, Array, interesting, mutate_array, mutate_sizes, mutate_tensor,
                      pack, product, random_values, shape_json, sizes_of, tensor_json,
                      tensor_values, unpack)


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
