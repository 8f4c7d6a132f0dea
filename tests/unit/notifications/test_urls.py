"""Of an Apprise URL only the service is shown; answers lose every part of it."""

import pytest

from serpline.core.masking import MASK
from serpline.notifications.urls import ANSWER_CHARS_MAX, service_of, without_url

URL = "json://ann:pa%73sword%2F1@host.example:8443/tok3n-abc/x?+X-Key=hdr-s3cret&verify=no"


@pytest.mark.parametrize(
    ("url", "service"),
    [(URL, "json"), ("MAILTOS://x", "mailtos"), ("s3cret-without-scheme", "?"), ("://x", "?")],
)
def test_the_service(url: str, service: str) -> None:
    """The scheme names the service; a URL without one shows nothing."""
    assert service_of(url) == service


@pytest.mark.parametrize(
    "part", ["password/1", "pa%73sword%2F1", "tok3n-abc", "hdr-s3cret", "host.example", URL]
)
def test_no_part_of_the_url(part: str) -> None:
    """Passwords, tokens, headers and the host go, in either spelling, also within other text."""
    answer = without_url(f"failed: 401 at {part}, and json://x/{part}?y", URL)
    assert part not in answer
    assert MASK in answer
    assert "failed: 401" in answer


def test_an_answer_is_one_short_line() -> None:
    """An answer of any length and with any control characters is one line."""
    answer = without_url("a\r\nb\x1b[2J" + "x" * 10_000, URL)
    assert len(answer) <= ANSWER_CHARS_MAX
    assert answer.startswith("a b [2J")
