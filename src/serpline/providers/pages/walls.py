"""Recognises pages without content before a model is paid: walls, notices, soft 404s, empty pages.

``data/walls.toml`` has the signs. A bot check is recognised by its code. Phrases count only on a
page with little text, so an article about cookies, captchas or error 404 is content. Promise: no
phrase refuses a page with more main text than ``PHRASE_CHARS_MAX``, except a request for consent
(``CONSENT_CHARS_MAX``); a page with more visible text than ``CHECK_CHARS_MAX`` is no bot check.
Limit: the model judges a long wall.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from serpline.domain.names import EmptyKind
from serpline.providers.pages.facts import PageFacts, folded

# Lengths count a Chinese, Japanese or Korean character as three, because it holds as much.
CHECK_CHARS_MAX = 3_000
PHRASE_CHARS_MAX = 700
SHORT_TEXT_CHARS_MAX = 400
CONSENT_CHARS_MAX = 1_500
CONTENT_CHARS_MIN = 50
_WIDE = re.compile(r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_PARTS = re.compile(r"\s+[|–—·•:»-]\s+|\s*[|»]\s*")


class Wall(NamedTuple):
    """What a page shows instead of content, and the sign that proves it."""

    kind: EmptyKind
    sign: str


def by_headers(headers: Mapping[str, str]) -> Wall | None:
    """The bot check that a reply's headers name, whatever its status."""
    for name, values in _table()["headers"].items():
        value = headers.get(name, "").strip().lower()
        if value in values:
            return Wall(EmptyKind.BOT_CHECK, f"{name}: {value}")
    return None


def by_content(url: str, requested_url: str, facts: PageFacts, main: str) -> Wall | None:
    """The wall that a page is, or None if it is content.

    ``url``: its address after redirects from ``requested_url``. ``main``: its main text.
    """
    return (
        _by_address(url, requested_url)
        or _by_marker(facts)
        or (_by_phrase(facts, main) if weight(main) <= PHRASE_CHARS_MAX else None)
        or _by_consent(facts, main)
        or _by_emptiness(facts, main)
    )


def weight(text: str) -> int:
    """The length of a text in alphabetic characters."""
    return len(text) + 2 * len(_WIDE.findall(text))


def _by_address(url: str, requested_url: str) -> Wall | None:
    host, path = _host_and_path(url)
    requested_host, requested_path = _host_and_path(requested_url)
    if (host, path) == (requested_host, requested_path):
        # Without a redirect even a login page is content: the search found it.
        return None
    for kind, places in _table()["addresses"].items():
        for place in places:
            wall_host, _, wall_path = place.partition("/")
            if host == wall_host and path.startswith(f"/{wall_path}"):
                return Wall(EmptyKind(kind), f"redirected to {place}")
    last = path.rstrip("/").rpartition("/")[2].lower()
    names = _table()["login_paths"]["names"]
    if last in names and requested_path.rstrip("/").rpartition("/")[2].lower() not in names:
        return Wall(EmptyKind.LOGIN_WALL, f"redirected to /{last}")
    return None


def _by_marker(facts: PageFacts) -> Wall | None:
    if weight(facts.visible) > CHECK_CHARS_MAX:
        return None
    for marker in _table()["marker"]:
        if (
            any(sign in facts.scripts for sign in marker.get("script", ()))
            or _any_within(marker.get("address", ()), facts.addresses)
            or _any_within(marker.get("frame", ()), facts.frames)
            or not facts.ids.isdisjoint(marker.get("id", ()))
        ):
            return Wall(EmptyKind.BOT_CHECK, marker["vendor"])
    return None


def _by_phrase(facts: PageFacts, main: str) -> Wall | None:
    """Match a whole title or heading, or a phrase on a page with little else."""
    lines = [facts.title, *_PARTS.split(facts.title), *facts.headings]
    for kind, phrases in _phrases("titles").items():
        for line in lines:
            if folded(line) in phrases:
                return Wall(EmptyKind(kind), f"heading {folded(line)!r}")
    if weight(main) > SHORT_TEXT_CHARS_MAX:
        return None
    shown = facts.visible if weight(facts.visible) <= PHRASE_CHARS_MAX else main
    text = f" {folded(shown)} {folded(facts.title)} "
    for kind, phrases in _phrases("phrases").items():
        for phrase in phrases:
            if phrase in text:
                return Wall(EmptyKind(kind), f"text {phrase!r}")
    return None


def _by_consent(facts: PageFacts, main: str) -> Wall | None:
    """A wall's main text asks for consent. A banner is beside the page's main text."""
    texts = _phrases("consent")
    if facts.is_article or weight(main) > CONSENT_CHARS_MAX:
        return None
    if facts.buttons.isdisjoint(texts["buttons"]):
        return None
    text = folded(main, CONSENT_CHARS_MAX)
    asking = next((phrase for phrase in texts["phrases"] if phrase in text), None)
    return Wall(EmptyKind.CONSENT_WALL, f"text {asking!r}") if asking else None


def _by_emptiness(facts: PageFacts, main: str) -> Wall | None:
    if weight(main) >= CONTENT_CHARS_MIN:
        return None
    unscripted = folded(facts.without_scripts)
    if any(phrase in unscripted for phrase in _phrases("phrases")["javascript_notice"]):
        return Wall(EmptyKind.JAVASCRIPT_NOTICE, "no text without scripts")
    return Wall(EmptyKind.NO_TEXT, f"{len(main)} characters of text")


def _any_within(signs: Iterable[str], addresses: Iterable[str]) -> bool:
    return any(sign in address for sign in signs for address in addresses)


def _host_and_path(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
        return (parts.hostname or "").lower(), parts.path or "/"
    except ValueError:
        return "", "/"


@cache
def _table() -> dict[str, Any]:
    path = files("serpline.providers.pages") / "data" / "walls.toml"
    return tomllib.loads(path.read_text("utf-8"))


@cache
def _phrases(section: str) -> dict[str, frozenset[str]]:
    return {name: frozenset(map(folded, found)) for name, found in _table()[section].items()}
