"""From a request to the wire, to the next hop, and to the reply."""

from typing import Any

import httpx2
import pytest

from serpline.core.masking import MASK
from serpline.domain.errors import ErrorCategory
from serpline.domain.http import HttpRequest
from serpline.net.errors import EXPECTED, NetError, translate
from serpline.net.exchange import Raw
from serpline.net.hop import Hop, first_hop, next_hop, parse_url, reply_of


def hop(url: str = "https://a.com/x", **fields: Any) -> Hop:
    request = HttpRequest(fields.pop("method", "GET"), url, **fields)
    return first_hop(request, parse_url(url, request.params), "agent/1")


def test_parameters_are_added_to_those_of_the_url() -> None:
    """A request's parameters join the query that its URL already has."""
    assert str(parse_url("https://a.com/?x=1", {"q": "a b"})) == "https://a.com/?x=1&q=a+b"
    assert str(parse_url("https://a.com/?x=%20", {})) == "https://a.com/?x=%20"


@pytest.mark.parametrize(
    "url",
    ["ftp://a.com", "file:///etc/passwd", "gopher://a.com", "a.com/x", "https://", "https:///x",
     "https://u@a.com", "https://u:p@a.com", "https://a.com\\@b.com", "javascript:alert(1)",
     "https://a.com:port/", "https://a b.com\n", "https://[::1", "https://999.1.1.1/", ""],
)  # fmt: skip
def test_unusable_url_is_refused(url: str) -> None:
    """Text that is not a plain http(s) URL with a host is refused permanently."""
    with pytest.raises(EXPECTED) as caught:
        parse_url(url, {})
    failure = translate(caught.value, "the URL")
    assert (failure.category, failure.permanent) == (ErrorCategory.BAD_REQUEST, True)


def test_json_and_basic_auth_and_own_headers() -> None:
    """JSON is sent compact, even if empty. The client's own headers cannot be overridden."""
    sent = hop(
        method="POST",
        json=[],
        basic_auth=("u", "p"),
        headers={"Host": "evil.com", "Accept-Encoding": "br", "User-Agent": "mine", "X-A": "1"},
    )
    assert sent.content == b"[]"
    assert sent.headers == {
        "host": "a.com",
        "accept-encoding": "gzip",
        "accept": "*/*",
        "user-agent": "mine",
        "content-type": "application/json",
        "authorization": "Basic dTpw",
        "x-a": "1",
    }


def test_host_header_keeps_brackets_and_port() -> None:
    """The Host header is the URL's own host and port, an IPv6 address in brackets."""
    assert hop("http://[2606:4700::1]:8080/").headers["host"] == "[2606:4700::1]:8080"


def test_redirect_to_another_origin_takes_no_credentials_along() -> None:
    """Only harmless headers follow to another host, scheme or port; all follow within one."""
    start = hop(headers={"Authorization": "Bearer t", "X-Api-Key": "k", "Accept": "text/html"})
    within = next_hop(start, "/y").headers
    assert {"authorization", "x-api-key"} <= within.keys()
    for location in ("https://b.com/", "http://a.com/", "https://a.com:8443/"):
        outside = next_hop(start, location)
        assert outside.headers.keys() == {"host", "accept-encoding", "accept", "user-agent"}
        assert outside.headers["host"] == outside.url.netloc.decode()


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("y?z=1", "https://a.com/p/y?z=1"),
        ("../y", "https://a.com/y"),
        ("?z", "https://a.com/p/x?z"),
        ("//b.com/y", "https://b.com/y"),
        ("HTTP://B.com", "http://b.com"),
    ],
)
def test_location_is_resolved_against_the_hop(location: str, target: str) -> None:
    """Relative redirects lead where a browser would go."""
    assert str(next_hop(hop("https://a.com/p/x?q"), location).url) == target


@pytest.mark.parametrize(
    "location", ["http:///x", "file:///x", "https://u:p@b.com", "/\\b.com", "//b.com:x"]
)
def test_unusable_location_is_refused(location: str) -> None:
    """A redirect to a refused URL is a permanent error."""
    with pytest.raises(EXPECTED) as caught:
        next_hop(hop(), location)
    assert translate(caught.value, "a.com").permanent


def test_reply_is_redacted_in_url_and_headers() -> None:
    """Neither contains a key that the peer echoes. The body came without it."""
    raw = Raw(
        200,
        [("link", "<https://a.com/?q=longsecret>"), ("a", "1"), ("a", "2")],
        b"a body",
    )
    reply = reply_of(
        httpx2.URL("https://a.com/?q=longsecret&key=K"), raw, ("longsecret", "abc"), 0.5
    )
    assert reply.url == f"https://a.com/?q={MASK}&key={MASK}"
    assert reply.headers == {"link": f"<https://a.com/?q={MASK}>", "a": "1, 2"}
    assert reply.body == b"a body"
    assert "longsecret" not in repr(reply)


def test_error_message_is_short_and_redacted() -> None:
    """An error's message is cut after the secret has been masked."""
    error = NetError(ErrorCategory.NETWORK, "x" * 295 + "longsecret")
    shown = error.redacted(["longsecret"], sent=True)
    assert str(shown) == "x" * 295 + MASK[:5]
