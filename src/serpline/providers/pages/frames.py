"""The extractor's protocol: frames on pipes, each a length (4 bytes) and its bytes.

The parent sends pairs of frames: a request (JSON) and the page's bytes. The process sends one JSON
object when it is ready, then for each pair one when it has received it and one as the reply.
"""

import json
import struct
from typing import Any, BinaryIO

LENGTH = struct.Struct(">I")
REPLY_BYTES_MAX = 1_000_000


def packed(frame: bytes) -> bytes:
    """Prefix ``frame`` with its length."""
    return LENGTH.pack(len(frame)) + frame


def as_frame(value: dict[str, Any]) -> bytes:
    """Encode a JSON object as a frame with its length."""
    return packed(json.dumps(value, ensure_ascii=False).encode())


def read_frame(stream: BinaryIO) -> bytes | None:
    """Read the next frame, blocking; None if the other side closes, even in mid-frame."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body: bytes = stream.read(length)
    return body if len(body) == length else None
