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


def inflate(data: bytes, encoding: str, step: int = 7) -> bytes:
    inflater = Inflater(encoding)
    parts = [data[start : start + step] for start in range(0, len(data), step)]
    return b"".join(b"".join(inflater.pieces(part)) for part in parts) + inflater.finish()


@given(st.binary(max_size=4000), st.integers(1, 500))
def test_gzip_round_trip_however_it_is_cut_into_chunks(data: bytes, step: int) -> None:
    """What was compressed comes out whole, whatever the chunks."""
    assert inflate(gzip.compress(data), "gzip", step) == data
    assert inflate(zlib.compress(data), "deflate", step) == data
    assert inflate(data, "", step) == data
    assert inflate(data, " Identity ", step) == data


def test_every_member_of_a_gzip_file_is_read_and_padding_ignored() -> None:
    """A gzip stream of several members is read to its end; zeros behind it are no data."""
    stream = gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 20
    assert inflate(stream, "gzip", 1000) == b"one two"
    assert inflate(stream, "gzip", 1) == b"one two"


def test_pieces_are_bounded() -> None:
    """One small input never becomes one large output."""
    pieces = list(Inflater("gzip").pieces(gzip.compress(bytes(5_000_000))))
    assert max(map(len, pieces)) <= INFLATE_PIECE_BYTES
    assert sum(map(len, pieces)) == 5_000_000


def test_members_are_counted() -> None:
    """A flood of empty gzip members ends at the limit, though it yields no bytes at all."""
    assert inflate(gzip.compress(b"") * MEMBERS_MAX, "gzip", 1000) == b""
    with pytest.raises(NetError, match="parts"):
        inflate(gzip.compress(b"") * (MEMBERS_MAX + 1), "gzip", 1000)


@pytest.mark.parametrize("missing", [1, 4, 8, 9, 30])
def test_cut_stream_is_an_error(missing: int) -> None:
    """A compressed stream that ends before its end is a failure, never a shorter page."""
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


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "deflate, gzip", "compress"])
def test_unasked_encoding_is_an_error(encoding: str) -> None:
    """An encoding that was not asked for, or a chain of them, is refused."""
    with pytest.raises(NetError) as caught:
        Inflater(encoding)
    assert caught.value.category is ErrorCategory.NETWORK
