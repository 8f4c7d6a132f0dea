"""How the extractor's two sides talk: frames on pipes, each a length (4 bytes) and its bytes.

To the worker go pairs of frames: a request (JSON) and the page as it came. Back comes one JSON
object for each pair, and one first of all, when the worker is ready.
"""

import json
import struct
from typing import Any, BinaryIO

LENGTH = struct.Struct(">I")
REPLY_BYTES_MAX = 1_000_000


def packed(frame: bytes) -> bytes:
    """``frame`` with its length in front."""
    return LENGTH.pack(len(frame)) + frame


def as_frame(value: dict[str, Any]) -> bytes:
    """A JSON object as a frame, length included."""
    return packed(json.dumps(value, ensure_ascii=False).encode())


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame; None when the other side has gone, also in the middle of one. Blocks."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body: bytes = stream.read(length)
    return body if len(body) == length else None
