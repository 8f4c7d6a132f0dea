"""Decompression in bounded pieces."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.domain.errors import ErrorCategory
from serpline.net.errors import NetError
from serpline.net.inflate import Inflater
from serpline.net.limits import INFLATE_PIECE_BYTES, MEMBERS_MAX

BETWEEN = 10_000_000
HTML = b"<!DOCTYPE html><html><head><title>T</title></head><body>words</body></html>"
# Without a timestamp: the bytes are in test names, which must be equal in every process.
GZIPPED = gzip.compress(HTML, mtime=0)
JSON = b'{"answer": [1, 2, 3], "text": "x^2"}'


def inflate(data: bytes, encoding: str, step: int = 7) -> bytes:
    inflater = Inflater(encoding, BETWEEN)
    parts = [data[start : start + step] for start in range(0, len(data), step)]
    return b"".join(b"".join(inflater.pieces(part)) for part in parts) + b"".join(inflater.finish())


def raw_deflate(data: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeezer.compress(data) + squeezer.flush()


@given(st.binary(max_size=4000), st.integers(1, 500))
def test_gzip_round_trip_however_it_is_cut_into_chunks(data: bytes, step: int) -> None:
    """Compressed data comes out complete from any chunks."""
    assert inflate(gzip.compress(data), "gzip", step) == data
    assert inflate(zlib.compress(data), "deflate", step) == data
    assert inflate(raw_deflate(data), "deflate", step) == data
    assert inflate(gzip.compress(gzip.compress(data)), "gzip, gzip", step) == data
    assert inflate(data, "", step) == data
    assert inflate(data, " Identity ", step) == data


def test_every_member_of_a_gzip_file_is_read_and_padding_ignored() -> None:
    """A gzip stream of several members is read to its end. Zeros after it are ignored."""
    stream = gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 20
    assert inflate(stream, "gzip", 1000) == b"one two"
    assert inflate(stream, "gzip", 1) == b"one two"


def test_pieces_are_bounded() -> None:
    """One small input never becomes one large output."""
    pieces = list(Inflater("gzip", BETWEEN).pieces(gzip.compress(bytes(5_000_000))))
    assert max(map(len, pieces)) <= INFLATE_PIECE_BYTES
    assert sum(map(len, pieces)) == 5_000_000


def test_members_are_counted() -> None:
    """A flood of empty gzip members ends at the limit, although it yields no bytes."""
    assert inflate(gzip.compress(b"") * MEMBERS_MAX, "gzip", 1000) == b""
    with pytest.raises(NetError, match="parts"):
        inflate(gzip.compress(b"") * (MEMBERS_MAX + 1), "gzip", 1000)


@pytest.mark.parametrize("missing", [1, 4, 8, 9, 30])
def test_cut_stream_is_an_error(missing: int) -> None:
    """A truncated compressed stream is a failure, never a shorter page."""
    with pytest.raises(NetError, match="cut"):
        inflate(gzip.compress(bytes(range(256)))[:-missing], "gzip")


def test_damaged_stream_is_an_error() -> None:
    """A compressed stream with a wrong checksum is a failure."""
    data = bytearray(gzip.compress(b"some words"))
    data[-6] ^= 1
    with pytest.raises(zlib.error):
        inflate(bytes(data), "gzip", 1000)


def test_empty_body_with_an_encoding_is_empty() -> None:
    """A server may announce gzip and send nothing."""
    assert inflate(b"", "gzip") == b""


@pytest.mark.parametrize("text", [HTML, JSON, b"{", b"x", b"plain words " * 200])
@pytest.mark.parametrize("label", ["gzip", "x-gzip", "deflate", "gzip, gzip", "deflate, gzip"])
def test_plain_body_with_a_label(label: str, text: bytes) -> None:
    """An uncompressed body is read as it is under every label."""
    assert inflate(text, label) == text
    assert inflate(text, label, step=1) == text


@pytest.mark.parametrize(
    ("label", "body"),
    [
        ("gzip, gzip", GZIPPED),
        ("gzip, deflate", zlib.compress(GZIPPED)),
        ("deflate, gzip", gzip.compress(raw_deflate(HTML * 20), mtime=0)),
        ("deflate", GZIPPED),
        ("GZIP", GZIPPED),
        ("x-gzip", GZIPPED),
        ("gzip, identity", GZIPPED),
        ("identity, gzip,", GZIPPED),
        ("br", GZIPPED),
        ("zstd", GZIPPED),
        ("utf-8", GZIPPED),
        ("utf-8", HTML),
        ("none", JSON),
        ("text/html; charset=utf-8", HTML),
    ],
)
def test_odd_labels(label: str, body: bytes) -> None:
    """The bytes decide: doubled, unknown or wrong labels lose no body."""
    decoded = inflate(body, label, step=1_000)
    assert decoded in (HTML, HTML * 20, JSON)
    assert inflate(body, label, step=3) == decoded


@pytest.mark.parametrize("label", ["br", "zstd", "compress", "gzip, br"])
def test_coding_that_was_not_accepted(label: str) -> None:
    """An unsupported coding is refused permanently and by name."""
    with pytest.raises(NetError, match="not asked for") as caught:
        inflate(b"\x1b\x05\x00\xf8", label)
    assert (caught.value.category, caught.value.permanent) == (ErrorCategory.BAD_REQUEST, True)


def test_layers_are_bounded() -> None:
    """Three layers are refused. Between two layers at most the body's limit passes."""
    with pytest.raises(NetError, match="3 layers"):
        Inflater("gzip, gzip, gzip", BETWEEN)
    bomb = gzip.compress(gzip.compress(bytes(50_000_000), mtime=0) * 300, mtime=0)
    inflater = Inflater("gzip, gzip", 1_000_000)
    with pytest.raises(NetError, match="between two"):
        for _ in inflater.pieces(bomb):
            pass


@pytest.mark.parametrize("label", ["gzip", "deflate"])
def test_damaged_header(label: str) -> None:
    """Compressed bytes without their header are damaged, not a page of strange characters."""
    with pytest.raises((NetError, zlib.error)):
        inflate(b"\xfe" + gzip.compress(HTML)[1:], label)


@pytest.mark.parametrize("label", ["gzip", "deflate"])
def test_cut_in_the_first_bytes(label: str) -> None:
    """A truncated header is a truncated body, not a short one."""
    with pytest.raises(NetError, match="cut"):
        inflate(gzip.compress(HTML)[:1], label)
