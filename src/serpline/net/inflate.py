"""Decompression in bounded pieces, by the body's first bytes rather than its label.

Output comes in pieces of at most ``INFLATE_PIECE_BYTES``, so the reader can stop a gzip bomb after
any of them. Unlike the library's decoder, this one detects a truncated stream and reads a gzip
file of several members to its end.

Content-Encoding is often wrong: a proxy decodes the body and keeps the label, two servers label a
body that was compressed once, or the value is a charset. So the label limits the choice and the
first bytes decide:

- gzip or zlib, if it has their header;
- refused, if the label is ``br``, ``zstd`` or ``compress``, which were not asked for;
- raw deflate, if the label is ``deflate`` and the body can be read so;
- under another supported label plain if it is text, else damaged;
- plain under an unknown label or none.
"""

import zlib
from collections.abc import Iterator

from serpline.net.errors import broken, refused
from serpline.net.limits import (
    INFLATE_PIECE_BYTES,
    INFLATE_SNIFF_BYTES,
    LAYERS_MAX,
    MEMBERS_MAX,
)

ACCEPTED = "gzip"
_SUPPORTED = frozenset({"gzip", "x-gzip", "deflate"})
_UNSUPPORTED = frozenset({"br", "zstd", "compress", "x-compress", "dcb", "dcz"})
_GZIP_MAGIC = b"\x1f\x8b"
# Text contains none of these; the first few bytes of compressed data contain some.
_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\f\r\x1b")
_RAW = -zlib.MAX_WBITS
# zlib's flag for "gzip or zlib header".
_HEADED = zlib.MAX_WBITS | 32


class Inflater:
    """One body's decoder, for the value of a Content-Encoding header (empty: none).

    ``between_bytes_max`` bounds the bytes between two layers. Raises ``NetError`` for an encoding
    that cannot be decoded, ``zlib.error`` for damaged data.
    """

    def __init__(self, content_encoding: str, between_bytes_max: int) -> None:
        named = [part.strip().lower() for part in content_encoding.split(",")]
        codings = [part for part in named if part not in ("", "identity")]
        # Honest servers send no long chain, and a chain multiplies a bomb.
        if len(codings) > LAYERS_MAX:
            raise refused(f"content encoding of {len(codings)} layers")
        self._layers = [_Layer(coding) for coding in reversed(codings)]
        self._between_bytes_max = between_bytes_max

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """The decoded bytes that ``data`` adds, in bounded pieces."""
        return self._decode_from(0, data)

    def finish(self) -> Iterator[bytes]:
        """The last bytes. Raises ``NetError`` if the stream is truncated."""
        for at, layer in enumerate(self._layers):
            for piece in layer.finish():
                yield from self._decode_from(at + 1, piece)

    def _decode_from(self, at: int, data: bytes) -> Iterator[bytes]:
        if at == len(self._layers):
            yield data
            return
        layer = self._layers[at]
        for piece in layer.pieces(data):
            if layer.size_bytes > self._between_bytes_max and at + 1 < len(self._layers):
                raise refused(f"more than {self._between_bytes_max} bytes between two encodings")
            yield from self._decode_from(at + 1, piece)


class _Layer:
    """One coding. ``size_bytes`` counts its output."""

    def __init__(self, coding: str) -> None:
        self.size_bytes = 0
        self._coding = coding
        self._buffered = b""
        self._plain = False
        self._member: zlib._Decompress | None = None
        self._padding = False
        self._members = 1

    def pieces(self, data: bytes) -> Iterator[bytes]:
        data = self._buffered + data
        self._buffered = b""
        if self._member is None and not self._plain and not self._decide(data, last=False):
            self._buffered = data
            return
        for piece in [data] if self._plain else self._inflated(data):
            self.size_bytes += len(piece)
            yield piece

    def finish(self) -> Iterator[bytes]:
        data, self._buffered = self._buffered, b""
        if self._member is None and not self._plain:
            if not data:
                return
            self._decide(data, last=True)
            yield from [data] if self._plain else self._inflated(data)
        if self._member is not None:
            yield self._member.flush()
            if not self._member.eof:
                raise broken("the compressed body was cut")

    def _decide(self, data: bytes, *, last: bool) -> bool:
        """Decide the coding by the first bytes. False if more bytes are needed."""
        if len(data) < len(_GZIP_MAGIC) and not last:
            return False
        if data.startswith(_GZIP_MAGIC[: len(data)]) or self._is_zlib(data):
            self._member = zlib.decompressobj(_HEADED)
        elif self._coding in _UNSUPPORTED:
            raise refused(f"the reply is encoded as {self._coding}, which was not asked for")
        elif self._coding in _SUPPORTED:
            if len(data) < INFLATE_SNIFF_BYTES and not last:
                return False
            if self._coding == "deflate" and _is_raw_deflate(data, whole=last):
                self._member = zlib.decompressobj(_RAW)
            elif not _CONTROLS.isdisjoint(data):
                raise broken("the compressed body is damaged")
        self._plain = self._member is None
        return True

    def _is_zlib(self, data: bytes) -> bool:
        headed = len(data) > 1 and data[0] & 0x0F == zlib.DEFLATED
        return self._coding == "deflate" and headed and int.from_bytes(data[:2]) % 31 == 0

    def _inflated(self, data: bytes) -> Iterator[bytes]:
        assert self._member is not None
        while data and not self._padding:
            if self._member.eof:
                if data == _GZIP_MAGIC[:1]:
                    self._buffered = data
                    return
                # After a member comes another member or padding.
                self._padding = not data.startswith(_GZIP_MAGIC)
                self._member = self._member if self._padding else self._next_member()
                continue
            piece = self._member.decompress(data, INFLATE_PIECE_BYTES)
            data = self._member.unconsumed_tail or self._member.unused_data
            if piece:
                yield piece

    def _next_member(self) -> "zlib._Decompress":
        # Empty members cost time but no bytes, so their number is bounded.
        self._members += 1
        if self._members > MEMBERS_MAX:
            raise refused(f"the compressed body has more than {MEMBERS_MAX} parts")
        return zlib.decompressobj(_HEADED)


def _is_raw_deflate(data: bytes, *, whole: bool) -> bool:
    """Whether the beginning of a body decodes as deflate without a header.

    Text soon contains an invalid code, or ends a deflate stream although more text follows.
    """
    trial = zlib.decompressobj(_RAW)
    try:
        trial.decompress(data, INFLATE_PIECE_BYTES)
    except zlib.error:
        return False
    if whole and not trial.eof and not trial.unconsumed_tail:
        return not _CONTROLS.isdisjoint(data)
    return not (trial.eof and trial.unused_data.strip(b"\0"))
