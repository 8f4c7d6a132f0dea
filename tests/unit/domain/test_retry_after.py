"""The wait that a reply asks for."""

from datetime import UTC, datetime

import pytest

from serpline.domain.replies import retry_after_seconds

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("120, 120", 120),
        ("30, 120", 120),
        ("soon, 5", 5),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60),
        ("Sun, 01 Mar 2026 12:01:00 GMT, Sun, 01 Mar 2026 12:02:00 GMT", 120),
        ("30, Sun, 01 Mar 2026 12:01:00 GMT", 60),
        ("Sunday, 01-Mar-26 12:01:00 GMT", 60),
        ("Sun Mar  1 12:01:00 2026", 60),
        ("Sun, 01 Mar 2026 13:01:00 +0100", 60),
        ("Sun, 01 Mar 2020 12:01:00 GMT", 0),
        ("0", 0),
        ("-5", None),
        ("-5, 3", 3),
        ("1e3", None),
        ("Infinity", None),
        ("٣", None),
        ("", None),
        (",", None),
        ("soon", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """A number or a date, repeated or not, gives seconds. Anything else gives None."""
    assert retry_after_seconds({"retry-after": value}, NOW) == seconds


@pytest.mark.parametrize(
    ("milliseconds", "value", "seconds"),
    [
        ("0", "1", 1),
        ("1500", "9", 1.5),
        ("250.5", "1", 0.2505),
        ("-1", "1", 1),
        ("soon", "1", 1),
        ("0", "", 0),
        ("20", "", 0.02),
    ],
)
def test_milliseconds(milliseconds: str, value: str, seconds: float) -> None:
    """Milliseconds count if above zero, else the header in seconds."""
    headers = {"retry-after-ms": milliseconds, "retry-after": value}
    assert retry_after_seconds(headers, NOW) == seconds
