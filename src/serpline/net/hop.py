"""Pure functions that build the first hop from a request, the next hop, and the reply.

One strict parser reads each URL, and its result is what we connect to. URLs that parsers read
differently are refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx2

from serpline.domain.http import HttpReply, HttpRequest
from serpline.net.errors import refused
from serpline.net.exchange import Raw
from serpline.net.hosts import DEFAULT_PORTS, origin_of
from serpline.net.inflate import ACCEPTED
from serpline.net.redaction import basic_token, redact, redact_url

# Headers that follow a redirect to another origin. Any other might be a credential.
_HARMLESS_HEADERS = frozenset({"accept", "accept-language", "user-agent"})
# Headers that the client sets: what it can decode, and where the connection goes.
_OWN_HEADERS = frozenset({"accept-encoding", "connection", "content-length", "host"})


@dataclass(frozen=True, slots=True, repr=False)
class Hop:
    """One request on the wire. Header names are lower-case."""

    method: str
    url: httpx2.URL
    headers: Mapping[str, str]
    content: bytes | None


def parse_url(text: str, params: Mapping[str, str]) -> httpx2.URL:
    """Parse an absolute http(s) URL and add ``params`` to its query.

    Raises ``httpx2.InvalidURL``, or a permanent ``NetError`` for a URL that we refuse.
    """
    # Browsers read a backslash as a slash, our parser does not: refuse it.
    if "\\" in text:
        raise refused("refused URL: holds a backslash")
    url = httpx2.URL(text)
    if url.scheme not in DEFAULT_PORTS:
        raise refused(f"refused scheme {url.scheme[:20]!r}")
    if not url.raw_host:
        raise refused("refused URL: names no host")
    if url.userinfo:
        raise refused("refused URL: holds a user or password")
    return url.copy_merge_params(params) if params else url


def first_hop(request: HttpRequest, url: httpx2.URL, user_agent: str) -> Hop:
    """The request itself on the wire. ``url`` is its parsed URL."""
    headers = {"accept": "*/*", "user-agent": user_agent}
    if request.json is not None:
        headers["content-type"] = "application/json"
    if request.basic_auth is not None:
        headers["authorization"] = f"Basic {basic_token(*request.basic_auth)}"
    given = {name.lower(): value for name, value in request.headers.items()}
    headers |= {name: value for name, value in given.items() if name not in _OWN_HEADERS}
    return Hop(request.method, url, _addressed(headers, url), _content(request))


def next_hop(hop: Hop, location: str) -> Hop:
    """The hop of a redirect. Another origin gets no header that could be a credential."""
    if "\\" in location:
        raise refused("refused redirect: holds a backslash")
    try:
        url = parse_url(str(hop.url.join(location)), {})
    except ValueError:
        raise refused("refused redirect: not a usable URL") from None
    headers = dict(hop.headers)
    if origin_of(url) != origin_of(hop.url):
        headers = {name: value for name, value in headers.items() if name in _HARMLESS_HEADERS}
    return Hop(hop.method, url, _addressed(headers, url), hop.content)


def reply_of(url: httpx2.URL, raw: Raw, secrets: Sequence[str], seconds: float) -> HttpReply:
    """The reply without ``secrets``, as other packages may see and store it.

    ``exchange`` has already removed them from the body.
    """
    return HttpReply(
        status=raw.status,
        headers={name: redact(value, secrets) for name, value in raw.headers.items()},
        body=raw.body,
        url=redact_url(redact(str(url), secrets)),
        seconds=seconds,
        large=raw.spool,
    )


def _addressed(headers: Mapping[str, str], url: httpx2.URL) -> dict[str, str]:
    own = {"host": url.netloc.decode("ascii"), "accept-encoding": ACCEPTED}
    return own | {name: value for name, value in headers.items() if name not in own}


def _content(request: HttpRequest) -> bytes | None:
    if request.json is None:
        return b"" if request.method in ("POST", "PUT", "PATCH") else None
    text = json.dumps(request.json, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode()
