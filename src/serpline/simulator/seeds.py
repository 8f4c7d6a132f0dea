"""Deterministic random numbers: each is a hash of the seed and of what it is for.

There is no state. A value depends on the seed and the request only, not on earlier requests.
"""

import random
from hashlib import blake2b

_MASK = (1 << 64) - 1
_SCALE = float(1 << 64)


def stamp(*parts: object) -> int:
    """A 64-bit number derived from ``parts``."""
    text = "\x1f".join([str(part) for part in parts])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def unit(*parts: object) -> float:
    """A number in [0, 1) derived from ``parts``."""
    return stamp(*parts) / _SCALE


def stream(*parts: object) -> random.Random:
    """A random generator seeded by ``parts``."""
    return random.Random(stamp(*parts))  # noqa: S311  a market, not a secret


def mix(key: int, first: int, second: int) -> int:
    """A 64-bit number from three: a cheap hash for walks over many (slot, day) pairs."""
    z = (key + first * 0x9E3779B97F4A7C15 + second * 0xD1B54A32D192ED03) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def mix_unit(key: int, first: int, second: int) -> float:
    """``mix`` as a number in [0, 1)."""
    return mix(key, first, second) / _SCALE


def hex_id(length: int, *parts: object) -> str:
    """An upper-case hexadecimal id of ``length`` (at most 32) derived from ``parts``."""
    text = "\x1f".join([str(part) for part in parts])
    return blake2b(text.encode(), digest_size=16).hexdigest()[:length].upper()
