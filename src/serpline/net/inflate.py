"""Decompression that never gets ahead of its reader.

Output comes in pieces of at most ``INFLATE_PIECE_BYTES``, so the reader can stop a gzip bomb after
any of them. Unlike the library's decoder this one notices a compressed stream that was cut, and
reads a gzip file of several members to its end.
"""

import zlib
from collections.abc import Iterator

from serpline.net.errors import broken, refused
from serpline.net.limits import INFLATE_PIECE_BYTES, MEMBERS_MAX

ACCEPTED = "gzip"
_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP_MAGIC = b"\x1f\x8b"


class Inflater:
    """One body's decoder, for the value of a Content-Encoding header (empty: none).

    Raises ``NetError`` for an encoding that was not asked for, ``zlib.error`` for damaged data.
    """

    def __init__(self, content_encoding: str) -> None:
        named = [part.strip().lower() for part in content_encoding.split(",")]
        encodings = [part for part in named if part not in ("", "identity")]
        # A chain of encodings is never sent honestly, and multiplies a bomb.
        if len(encodings) > 1 or not _ENCODINGS.issuperset(encodings):
            raise broken(f"unasked content encoding {content_encoding[:40]!r}")
        self._member = _member() if encodings else None
        self._fed = False
        self._held = b""
        self._padding = False
        self._members = 1

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """The decoded bytes that ``data`` adds, in bounded pieces."""
        if self._member is None:
            yield data
            return
        data = self._held + data
        self._held = b""
        while data and not self._padding:
            self._fed = True
            if self._member.eof:
                if data == _GZIP_MAGIC[:1]:
                    self._held = data
                    return
                # What follows the last member is another member or padding.
                self._padding = not data.startswith(_GZIP_MAGIC)
                self._member = self._member if self._padding else self._next_member()
                continue
            piece = self._member.decompress(data, INFLATE_PIECE_BYTES)
            data = self._member.unconsumed_tail or self._member.unused_data
            if piece:
                yield piece

    def finish(self) -> bytes:
        """The last few bytes; raises ``NetError`` if the stream was cut before its end."""
        if self._member is None or not self._fed:
            return b""
        tail = self._member.flush()
        if not self._member.eof:
            raise broken("the compressed body was cut")
        return tail

    def _next_member(self) -> "zlib._Decompress":
        # Members without content would cost time that no limit on bytes accounts for.
        self._members += 1
        if self._members > MEMBERS_MAX:
            raise refused(f"the compressed body has more than {MEMBERS_MAX} parts")
        return _member()


def _member() -> "zlib._Decompress":
    # zlib's flag for "gzip or zlib header, whichever comes".
    return zlib.decompressobj(zlib.MAX_WBITS | 32)
