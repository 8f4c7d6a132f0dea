"""Any bytes of a reply give a value or one kind of error."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.replies import (
    as_count,
    as_number,
    as_text,
    json_object,
    json_value,
    redacted,
    retry_after_seconds,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def reply(body: bytes) -> HttpReply:
    return HttpReply(200, {}, body)


def test_json_object() -> None:
    """An object is read, also with a byte order mark. Another value is malformed."""
    assert json_object(reply(b'\xef\xbb\xbf{"a": 1}'), "p") == {"a": 1}
    assert json_value(reply(b"[1]"), "p") == [1]
    with pytest.raises(ProviderError, match="not an object"):
        json_object(reply(b"[1]"), "p")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b'{"a":',
        b"NaN",
        b'{"a": Infinity}',
        b"\xff",
        b'"\xed\xa0\x80"',
        b'"\x00"',
        b"[" * 100_000,
        b"9" * 10_000,
    ],
)
def test_no_json(body: bytes) -> None:
    """A body that is not JSON is malformed, may be retried, and is not quoted."""
    with pytest.raises(ProviderError) as caught:
        json_value(reply(body), "p")
    assert caught.value.category is ErrorCategory.MALFORMED
    assert not caught.value.permanent
    assert len(str(caught.value)) < 100


def test_strings_are_storable() -> None:
    """Characters that PostgreSQL cannot store are replaced, also in keys. Real pairs stay."""
    value = json_value(reply(rb'{"a\u0000": ["\ud83c\udf55", "\ud800", "\u0041"]}'), "p")
    assert value == {"a�": ["🍕", "�", "A"]}
    json.dumps(value, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        ("Sun, 01 Mar 2026 12:02:00 GMT", 120.0),
        ("Sun, 01 Mar 2026 13:02:00 +0100", 120.0),
        ("Sun, 01 Mar 2026 12:02:00 -0000", 120.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("9" * 400, None),
        ("١٢", None),
        ("Sun, 99 Mar 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """Seconds or an HTTP date are read. The past is 0, and garbage is None."""
    assert retry_after_seconds({"retry-after": value}, NOW) == seconds
    assert retry_after_seconds({}, NOW) is None


def test_redacted() -> None:
    """A provider's text loses secrets (also percent-encoded), URLs and line breaks, and is cut."""
    words = "key a+b/c\n at https://x.y/?k=a%2Bb%2Fc or a%2Bb%2Fc"
    assert redacted(words, ("a+b/c", "")) == "key [secret] at [url] or [secret]"
    assert redacted("x" * 190 + "SECRETSECRET" * 9, ("SECRETSECRET",))[190:] == "[secret][s"
    assert redacted(None) == redacted({"a": 1}) == ""


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (3, 3), (3.0, 3), ("3", 3), (0, 0), (-1, None), (1.5, None), (True, None), ("x", None),
        ("²", None), ("", None), ("9" * 30, None), (2**63, None), (float("inf"), None),
        (None, None),
    ],
)  # fmt: skip
def test_count(value: Any, count: int | None) -> None:
    """A count is a whole number that a database can hold, or unknown."""
    assert as_count(value) == count


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0), ("1.5", 1.5), (-2, -2.0), (True, None), ("nan", None), (float("inf"), None),
        (10**400, None), ([], None), ("", None),
    ],
)  # fmt: skip
def test_number(value: Any, number: float | None) -> None:
    """A number is finite, or read as unknown."""
    assert as_number(value) == number


def test_text() -> None:
    """Blank text is read as None."""
    assert (as_text(" a "), as_text("  "), as_text(5)) == ("a", None, None)
