"""Parses a page's JSON-LD and finds the node of the page's own subject.

Pages have several scripts, lists of nodes, ``@graph``, and nodes about their surroundings: the
site, the publisher, breadcrumbs, related articles, listed products. Promise: broken, deep and huge
JSON-LD yields its readable part or nothing; it never raises, and the work is bounded. Limit:
``@id`` references are followed within the page only.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import unescape
from typing import Any
from urllib.parse import urlsplit

SCRIPT_CHARS_MAX = 1_000_000
SCRIPTS_MAX = 50
NODES_MAX = 2_000
TEXT_CHARS_MAX = 1_000
NAMES_MAX = 20
# The keys that lead from a node to the page's subject. Other keys lead to its surroundings.
_INWARDS = ("@graph", "mainEntity", "mainEntityOfPage")
_SUBJECTS = re.compile(
    r"(?:Article|Posting|Event|Review|Episode|Course|Report|Product|ProductGroup|Recipe|VideoObject"
    r"|HowTo|Question|Book|Movie|SoftwareApplication|Dataset|Hotel|Restaurant|LocalBusiness"
    r"|TouristAttraction|Place|Service)$"
)
_ARTICLES = re.compile(r"(?:Article|Posting|Report|Recipe)$")
_WRAPPING = re.compile(
    r"^\s*(?:<!--|//<!\[CDATA\[|/\*<!\[CDATA\[\*/|<!\[CDATA\[)|(?:-->|//\]\]>|\]\]>)\s*$"
)
_TRAILING_COMMA = re.compile(r",(\s*[\]}])")
_TAG = re.compile(r"<[^<>]{1,200}>")
Node = Mapping[str, Any]


class LinkedData:
    """The JSON-LD nodes of a page, in the order of its scripts."""

    def __init__(self, scripts: Iterable[str]) -> None:
        self._nodes: list[Node] = []
        self._by_id: dict[str, Node] = {}
        for count, script in enumerate(scripts):
            if count >= SCRIPTS_MAX:
                break
            for node in _walk(_parsed(script[:SCRIPT_CHARS_MAX])):
                self._nodes.append(node)
                if isinstance(name := node.get("@id"), str) and "@type" in node:
                    self._by_id.setdefault(name, node)

    def subject(self, urls: Iterable[str], headings: Iterable[str]) -> Node:
        """The node of the page's subject, or an empty one.

        It is the node with an address in ``urls``, else the only article, else a node named in
        ``headings``: a video or a product may be only a part of the page.
        """
        found = [n for n in self._nodes if any(_SUBJECTS.search(t) for t in types_of(n))]
        places = {_normalised_url(url) for url in urls if url}
        # Variants of a product, an article and its video share an address: take the first.
        same_url = [n for n in found if not places.isdisjoint(map(_normalised_url, _addresses(n)))]
        if same_url:
            return same_url[0]
        articles = [n for n in found if any(_ARTICLES.search(t) for t in types_of(n))]
        if articles and len({_key(name_of(n)) for n in articles}) == 1:
            return articles[0]
        known = {_key(heading) for heading in headings if heading}
        for node in found:
            name = _key(name_of(node))
            if name and any(name in heading or heading in name for heading in known):
                return node
        return {}

    def of_type(self, *endings: str) -> Iterator[Node]:
        """The nodes whose type has one of these endings, such as ``Page``."""
        return (n for n in self._nodes if any(t.endswith(endings) for t in types_of(n)))

    def names(self, value: Any) -> list[str]:
        """The names in a value: a text, a node with a name, a reference to one, or a list."""
        found: list[str] = []
        for one in (value if isinstance(value, list) else [value])[:NAMES_MAX]:
            if isinstance(one, Mapping):
                name = one.get("@id")
                if "name" not in one and isinstance(name, str):
                    one = self._by_id.get(name, one)
                one = one.get("name")
                if isinstance(one, list):
                    one = next(iter(one), None)
            text = as_line(one)
            if text and not text.startswith(("http:", "https:")) and text not in found:
                found.append(text)
        return found


def name_of(node: Node) -> str | None:
    """A node's headline or name."""
    keys = ("headline", "name")
    return next((text for key in keys if (text := as_line(node.get(key)))), None)


def text_of(node: Node, *keys: str) -> str | None:
    """The first of ``keys`` whose value is a text or a list that begins with one."""
    for key in keys:
        value = node.get(key)
        if isinstance(value, list):
            value = next(iter(value), None)
        if isinstance(value, Mapping):
            value = value.get("@value")
        if text := as_line(value):
            return text
    return None


def types_of(node: Node) -> list[str]:
    """A node's types without the address of their vocabulary."""
    given = node.get("@type")
    names = given if isinstance(given, list) else [given]
    return [re.split(r"[/#:]", name)[-1] for name in names[:NAMES_MAX] if isinstance(name, str)]


def as_line(value: Any) -> str | None:
    """A text as one line without markup; None if it is not a text or empty."""
    if not isinstance(value, str):
        return None
    text = value
    # HTML escapes once; the site's software often escapes a second time.
    for _ in range(2):
        text = unescape(text)
    return " ".join(_TAG.sub("", text).split())[:TEXT_CHARS_MAX] or None


def _parsed(script: str) -> Any:
    text = _WRAPPING.sub("", script).strip().rstrip(";")
    for attempt in (text, _TRAILING_COMMA.sub(r"\1", text)):
        try:
            return json.loads(attempt, strict=False)
        except (ValueError, RecursionError):
            continue
    return None


def _walk(value: Any) -> Iterator[Node]:
    """Yield the nodes that may be the subject or that it may refer to, without recursion."""
    left = [value]
    for _ in range(NODES_MAX):
        if not left:
            return
        one = left.pop()
        if isinstance(one, list):
            left.extend(reversed(one[:NODES_MAX]))
        elif isinstance(one, Mapping):
            if "@type" in one:
                yield one
            left.extend(
                one[key] for key in reversed(_INWARDS) if isinstance(one.get(key), list | dict)
            )


def _addresses(node: Node) -> Iterator[str]:
    for key in ("url", "mainEntityOfPage", "@id"):
        value = node.get(key)
        if isinstance(value, Mapping):
            value = value.get("@id") or value.get("url")
        if isinstance(value, str) and value.startswith("http"):
            yield value


def _normalised_url(url: str) -> str:
    """An address without scheme, ``www.``, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return (parts.netloc.removeprefix("www.") + parts.path.rstrip("/")).lower()


def _key(text: str | None) -> str:
    return re.sub(r"\W+", " ", text or "").strip().casefold()
