"""No message, log or table contains a key."""

import base64
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.core.masking import MASK
from serpline.domain.http import HttpRequest
from serpline.net.redaction import redact, redact_url, secrets_of

KEY = "K3y/with+odd=chars&ä"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.com/s?api_key=K&q=x", f"https://a.com/s?api_key={MASK}&q=x"),
        ("https://a.com/s?q=x&API_KEY=K", f"https://a.com/s?q=x&API_KEY={MASK}"),
        ("https://a.com/s?api%5Fkey=K", f"https://a.com/s?api%5Fkey={MASK}"),
        ("https://a.com/s?a=1;key=K;b=2", f"https://a.com/s?a=1;key={MASK};b=2"),
        ("https://a.com/#access_token=K&x=1", f"https://a.com/#access_token={MASK}&x=1"),
        ("https://a.com/?x=1#token=K", f"https://a.com/?x=1#token={MASK}"),
        ("https://u:K@a.com/p", f"https://{MASK}@a.com/p"),
        ("https://u:K@b@a.com/p", f"https://{MASK}@a.com/p"),
        ("//u:K@a.com?key=K", f"//{MASK}@a.com?key={MASK}"),
        ("/path?key=K", f"/path?key={MASK}"),
        ("https://a.com/?keyword=K&monkey=1", "https://a.com/?keyword=K&monkey=1"),
        ("https://a.com/@user?x=1", "https://a.com/@user?x=1"),
        ("https://a.com/?key=", "https://a.com/?key="),
        ("not a url", "not a url"),
        ("", ""),
    ],
)
def test_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    """User information and known parameters are masked. The rest of a URL stays."""
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    "spelling",
    [
        KEY,
        quote(KEY, safe=""),
        quote_plus(KEY, safe=""),
        quote(KEY, safe="").lower().replace("k3y", "K3y"),
        base64.b64encode(KEY.encode()).decode(),
        "K3y/with+odd=chars&\\u00e4",
    ],
)
def test_secret_is_masked_in_every_spelling(spelling: str) -> None:
    """A known value is masked plain, percent-encoded, Base64-encoded and in JSON."""
    assert redact(f"before {spelling} after", [KEY]) == f"before {MASK} after"


def test_secret_that_contains_another_is_masked_whole() -> None:
    """The longest secret is replaced first, so no part of it remains."""
    assert redact("abcdef", ["abc", "abcdef"]) == MASK


def test_known_parameters_in_a_text_are_masked_without_knowing_the_value() -> None:
    """A URL inside a message loses its key and its password."""
    text = "GET https://u:p@a.com/s?api_key=K&q=x failed; see ?token=T."
    assert (
        redact(text) == f"GET https://{MASK}@a.com/s?api_key={MASK}&q=x failed; see ?token={MASK}"
    )


def test_request_secrets_are_found() -> None:
    """Declared secrets, key parameters, credentials in headers and basic auth are all found."""
    request = HttpRequest(
        "GET",
        "https://a.com",
        params={"api_key": "param-secret", "q": "public-words", "key": "short"},
        headers={"Authorization": "Bearer header-secret", "accept": "text/html"},
        basic_auth=("user", "basic-secret"),
        secrets=("x",),
    )
    assert secrets_of(request) == (
        "x",
        "param-secret",
        "Bearer header-secret",
        "header-secret",
        "basic-secret",
        base64.b64encode(b"user:basic-secret").decode(),
    )


@given(st.text(), st.text(min_size=1).filter(lambda secret: secret not in MASK), st.text())
def test_no_text_keeps_a_secret(before: str, secret: str, after: str) -> None:
    """A secret's value is removed from any text, and nothing raises."""
    shown = redact(before + secret + after, [secret])
    assert secret not in shown.replace(MASK, "") or secret in (before + after)


@given(st.text())
def test_redaction_of_a_url_never_raises_and_settles(text: str) -> None:
    """Any text can be redacted, and redaction is idempotent."""
    once = redact_url(text)
    assert redact_url(once) == once
