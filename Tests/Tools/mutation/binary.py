"""Bytes changed without regard to what they mean: text and protobuf files, .npy feeds."""
import re

from .tensors import BEYOND, INTS

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
