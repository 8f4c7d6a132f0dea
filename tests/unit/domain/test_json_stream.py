"""A JSON array read item by item gives the same as the whole, for any bytes."""

import io
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.domain import json_stream
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.json_stream import json_items
from serpline.domain.replies import json_value

CHARACTERS_MAX = 1_000
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


class Counting(io.BytesIO):
    """Counts the bytes read."""

    asked = 0

    def read1(self, size: int | None = -1) -> bytes:
        data = super().read1(-1 if size is None else size)
        self.asked += len(data)
        return data


class Large:
    """A body outside memory."""

    def __init__(self, body: bytes) -> None:
        self.size_bytes = len(body)
        self.reader = Counting(body)

    def open(self) -> Any:
        return self.reader


def items(body: bytes) -> list[Any]:
    return list(json_items(HttpReply(200, {}, body), "p", characters_max=CHARACTERS_MAX))


@pytest.fixture(autouse=True)
def small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads so small that every boundary occurs."""
    monkeypatch.setattr(json_stream, "READ_CHARACTERS", 3)


@given(st.lists(VALUES, max_size=5), st.sampled_from([None, 1]), st.booleans())
def test_it_is_read_as_the_whole_is(values: list[Any], indent: int | None, escaped: bool) -> None:
    """The items are those of the whole body, for any values and white space."""
    text = json.dumps(values, indent=indent, ensure_ascii=escaped)
    body = text.encode("utf-8", "replace")
    assert items(body) == json_value(HttpReply(200, {}, body), "p")


@given(st.binary(max_size=40) | st.text('[]{},:"1eE-. tru\\u0aN', max_size=40).map(str.encode))
def test_it_refuses_the_same_bodies_as_the_whole(body: bytes) -> None:
    """Any bytes are accepted or refused like the whole, if that is an array."""
    reply = HttpReply(200, {}, body)
    try:
        whole = json_value(reply, "p")
    except ProviderError:
        whole = None
    if isinstance(whole, list):
        assert items(body) == whole
        return
    with pytest.raises(ProviderError) as caught:
        items(body)
    assert caught.value.category is ErrorCategory.MALFORMED


@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"[1", b"[1,]", b"[,1]", b"[1 2]", b"[1]x", b"[1][2]", b"{}", b"null", b"[NaN]",
     b'["\xff"]', b'["\xed\xa0\x80"]', b"[1e]", b"[" * 100_000, b'[{"a":1}, {"a":'],
)  # fmt: skip
def test_no_array_is_one_error(body: bytes) -> None:
    """Text that is cut, damaged, endlessly nested or not an array is a typed error."""
    with pytest.raises(ProviderError, match="p sent a body that is not a JSON array"):
        items(body)


def test_numbers_at_a_joint_are_whole() -> None:
    """Digits after the boundary belong to the number."""
    assert items(b"[123456789, 1.5e10, -12345678901234567890123]") == [
        123456789, 1.5e10, -12345678901234567890123
    ]  # fmt: skip


def test_unstorable_characters_are_replaced() -> None:
    """An escaped NUL or half of a pair becomes U+FFFD, also after a boundary."""
    assert items(b'["abc\\u0000", {"\\ud800": "\\u00e4"}]') == ["abc�", {"�": "ä"}]


@pytest.mark.parametrize(
    ("length", "refused"), [(CHARACTERS_MAX, False), (CHARACTERS_MAX + 1, True)]
)
def test_the_limit_of_an_item_is_exact(length: int, refused: bool) -> None:
    """An item of the limit passes; one character more does not."""
    body = b'["' + b"x" * (length - 2) + b'", 2]'
    if not refused:
        assert items(body)[1:] == [2]
        return
    with pytest.raises(ProviderError):
        items(body)


def test_an_item_without_end_is_refused() -> None:
    """An item above the limit is given up before the rest is read."""
    large = Large(b'["small", "' + b"x" * 1_000_000 + b'"]')
    found = json_items(HttpReply(200, {}, b"", large=large), "p", characters_max=CHARACTERS_MAX)
    assert next(found) == "small"
    with pytest.raises(ProviderError, match=r"HTTP 200, 1000013 bytes"):
        next(found)
    assert large.reader.asked < 20_000


def test_growing_costs_no_more_than_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """An item of many reads is parsed a few times, not once for each read."""
    tried = []
    decode = json_stream._DECODER.raw_decode

    class Decoder:
        def raw_decode(self, text: str, at: int) -> Any:
            tried.append(at)
            return decode(text, at)

    monkeypatch.setattr(json_stream, "_DECODER", Decoder())
    assert items(b'["' + b"x" * (CHARACTERS_MAX - 2) + b'"]')
    assert len(tried) < 15


def test_a_byte_order_mark_is_none_of_the_text() -> None:
    """A file may begin with one."""
    assert items(b"\xef\xbb\xbf [1]") == [1]


def test_no_more_is_in_memory_than_the_item_at_hand() -> None:
    """After the first items of a large body only its beginning has been read."""
    large = Large(json.dumps(list(range(200_000))).encode())
    found = json_items(HttpReply(200, {}, b"", large=large), "p", characters_max=CHARACTERS_MAX)
    assert list(itertools.islice(found, 5)) == [0, 1, 2, 3, 4]
    assert large.reader.asked < 20_000 < large.size_bytes
