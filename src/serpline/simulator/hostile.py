"""Replies with hostile texts: the fault ``hostile_text``.

Any data text may be replaced by one that breaks careless parsers: an empty text, a host with an
underscore, an IPv6 address, half of a surrogate pair, a formula, a number of 400 digits. The fields
that identify a client's request (ids, requested websites, links of result files) stay, as do the
structure, numbers and price of the reply. The seed and the request decide which texts change, and
into what: a repeated request gets the same texts.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import Any

from serpline.simulator.seeds import stamp, unit
from serpline.simulator.wire import Reply

SHARE = 0.5
TEXTS = (
    "", " ", "N/A", "-", "null", "true", "NaN", "-1", "1e999", "9" * 400, "0x1F",
    "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\x1b[31mred", "\u202egnp.exe", "\r\nX-Evil: 1",
    "e" + "\u0301" * 200, "x" * 20_000, "ß", "İ", "吕梁市", "قهوة", "🏴" * 50,
    "'; DROP TABLE items; --", "=HYPERLINK(\"http://a.test\")", "+1+1", "@SUM(A1)", "%00", "%ZZ%",
    "../../etc/passwd", "<script>alert(1)</script>", "]]>", "{{7*7}}", "${jndi:ldap://a}", "a,b,c",
    "my_site.example", "a_b.c_d.com", "-a-.com", "localhost", "com", ".", "..", "www.", "xn--",
    "xn--a", "a" * 300 + ".com", ".".join("a" * 130), "1.2.3.4.5", "127.0.0.1", "[::1]", "0x7f.1",
    "http://", "http:///", "https://[::1]/", "https://[::1", "http://[fe80::1%25eth0]:99999/",
    "https://my_site.example/a?b#c", "https://a_b.c_d.com/", "http://user:pw@host:0/",
    "http://host:99999/", "http://host:port/", "http://exa mple.com/", "http://①②③.com/",
    "_" * 3_000 + ".com", "https://" + "a_" * 1_500 + ".com/",
    "https://ＥＸＡＭＰＬＥ。com/", "https://" + "a" * 70 + ".com/", "https://a..b.com/",
    "https://www.gov.uk/", "https://www.web.app/", "https://xn--zz--/", "javascript:alert(1)",
    "data:text/html,x", "//host/path", "https://example.com/" + "p" * 5_000, "mailto:a@b.c",
    "https://www.google.com/url?q=", "https://www.google.com/url?q=https://[::1]/",
    "https://youtube.com/watch?v=", "https://youtube.com/@", "https://youtube.com/@ß" + "x" * 99,
    "https://youtu.be/../..", "UC" + "x" * 22, "UC,UC", "@", "@" + "\u0300" * 9,
    "2026-13-45T99:99:99Z", "0000-00-00", "+99999-01-01T00:00:00Z", "PT99999999999H", "P", "PTS",
)  # fmt: skip
# Fields that identify a request, or the type of a document.
_ROUTING: Mapping[str, frozenset[str]] = {
    "scaleserp": frozenset(
        {
            "all_pages", "batch_id", "custom_id", "id", "name", "pages", "priority",
            "schedule_type", "searches_type", "search_type", "status",
        }
    ),
    "wikidata": frozenset({"company", "fact", "site", "type", "vars"}),
    "youtube": frozenset({"id", "kind"}),
}  # fmt: skip
_HTML_TEXT = re.compile(r'(?<=>)[^<>]+(?=<)|(?<=content=")[^"]+(?=")')


def hostile(reply: Reply, provider: str, seed: int, identity: str) -> Reply:
    """Replace about half of the texts of a successful reply. Errors stay unchanged."""
    if reply.status != 200:
        return reply
    keep = _ROUTING.get(provider, frozenset())

    def text(path: str, former: str) -> str:
        key = ("hostile", identity, path)
        if unit(seed, *key, "strikes") >= SHARE:
            return former
        return TEXTS[stamp(seed, *key, "which") % len(TEXTS)]

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, Mapping):
            return {k: v if k in keep else walk(v, f"{path}/{k}") for k, v in value.items()}
        if isinstance(value, list):
            return [walk(inner, f"{path}/{place}") for place, inner in enumerate(value)]
        if not isinstance(value, str):
            return value
        inner = _json(value)
        # A model's answer is JSON within a text: change the texts inside.
        return text(path, value) if inner is None else json.dumps(walk(inner, path))

    body = _json(reply.body)
    if body is not None:
        return replace(reply, body=json.dumps(walk(body, "")).encode())
    page = reply.body.decode(errors="replace")
    changed = _HTML_TEXT.sub(
        lambda found: escape(text(str(found.start()), found.group()).replace("\x00", "")), page
    )
    return replace(reply, body=changed.encode(errors="replace"))


def _json(given: str | bytes) -> Any:
    """Parse a JSON object or array; None for any other text."""
    if given[:1] not in ("{", "[", b"{", b"["):
        return None
    try:
        return json.loads(given)
    except ValueError:
        return None
