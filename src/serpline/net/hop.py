"""From a request to what goes on the wire, from there to the next hop, and to the reply.

Pure functions. URLs are read once, strictly, by the parser whose result is connected to; what two
parsers might read differently is refused.
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

# What may follow a redirect to another origin; everything else might be a credential.
_HARMLESS_HEADERS = frozenset({"accept", "accept-language", "user-agent"})
# Ours to set: what we can decode, and where the connection goes.
_OWN_HEADERS = frozenset({"accept-encoding", "connection", "content-length", "host"})


@dataclass(frozen=True, slots=True, repr=False)
class Hop:
    """One request on the wire; header names are lower-case."""

    method: str
    url: httpx2.URL
    headers: Mapping[str, str]
    content: bytes | None


def parse_url(text: str, params: Mapping[str, str]) -> httpx2.URL:
    """The absolute http(s) URL that ``text`` spells, with ``params`` added to its query.

    Raises ``httpx2.InvalidURL``, or a permanent ``NetError`` for a URL that we do not send.
    """
    # A backslash is a slash to a browser and not to us: two readings, so neither.
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
    """What the request itself sends to ``url`` (its own, parsed)."""
    headers = {"accept": "*/*", "user-agent": user_agent}
    if request.json is not None:
        headers["content-type"] = "application/json"
    if request.basic_auth is not None:
        headers["authorization"] = f"Basic {basic_token(*request.basic_auth)}"
    given = {name.lower(): value for name, value in request.headers.items()}
    headers |= {name: value for name, value in given.items() if name not in _OWN_HEADERS}
    return Hop(request.method, url, _addressed(headers, url), _content(request))


def next_hop(hop: Hop, location: str) -> Hop:
    """Where a redirect leads. Another origin gets no header that could be a credential."""
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
    """The reply as the rest of the house may see and store it: without ``secrets``.

    The exchange took them out of the body.
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
