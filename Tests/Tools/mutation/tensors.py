"""Arrays of feeds and TensorProtos: their types and values, and values that are likely to hurt."""
import base64
import json
import struct

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
