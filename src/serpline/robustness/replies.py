"""Raw replies as stored in the ledger: compressed, bounded, without secrets."""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from serpline.core.masking import StreamMask
from serpline.core.spool import READ_BYTES, Spool
from serpline.domain.errors import ERROR_CHARS_MAX
from serpline.domain.http import HttpReply
from serpline.domain.text import storable
from serpline.net.redaction import redact, redact_url
from serpline.store.calls.replies import StoredReply

# Compressed on the event loop, in about a millisecond. Larger replies go to a thread.
PACKED_AT_ONCE_BYTES = 64 * 1024
_COMPRESSION = 3
_HEADERS_KEPT = ("content-type", "date", "etag", "retry-after", "x-ratelimit-", "x-call-credits-")


def pack(
    reply: HttpReply, secrets: Sequence[str], *, size_bytes_max: int | None = None
) -> StoredReply:
    """Compress a reply for storage, with its secrets replaced in every spelling.

    About the first ``size_bytes_max`` bytes of the body are kept.
    """
    masking, packing = StreamMask(secrets), zlib.compressobj(_COMPRESSION)
    packed, size_bytes = bytearray(), 0
    pieces = iter(partial(reply.open().read, READ_BYTES), b"")
    for piece in chain(map(masking.feed, pieces), iter(masking.finish, b"")):
        size_bytes += len(piece)
        packed += packing.compress(piece)
        if size_bytes_max is not None and size_bytes >= size_bytes_max:
            break
    packed += packing.flush()
    headers = {
        name: _bounded(redact(value, secrets))
        for name, value in reply.headers.items()
        if name.startswith(_HEADERS_KEPT)
    }
    return StoredReply(
        http_status=reply.status,
        headers=headers,
        url=_bounded(redact(redact_url(reply.url), secrets)),
        body=bytes(packed),
        size_bytes=size_bytes,
    )


def unpack(stored: StoredReply, *, large: bool = False) -> HttpReply:
    """Decompress a stored reply, which lacks its secrets. ``large`` puts its body on disk."""
    reply = HttpReply(stored.http_status, dict(stored.headers), b"", stored.url)
    if not large:
        return replace(reply, body=zlib.decompress(stored.body))
    inflater = zlib.decompressobj()
    try:
        spool = Spool()
        for at in range(0, len(stored.body), READ_BYTES):
            data = stored.body[at : at + READ_BYTES]
            while data:
                spool.write(inflater.decompress(data, READ_BYTES))
                data = inflater.unconsumed_tail
        spool.write(inflater.flush())
        if not inflater.eof:
            raise zlib.error("a stored reply is truncated")
    except OSError:  # the disk is full: the reply is paid, so use memory
        return unpack(stored)
    return replace(reply, large=spool)


def _bounded(text: str) -> str:
    """Make text storable in PostgreSQL and bound its length."""
    return str(storable(text))[:ERROR_CHARS_MAX]
