"""Pages without content, recognised before a model is paid: walls, notices, soft 404s, emptiness.

``data/walls.toml`` says by what. A site's code names its bot check; what a page says counts only
where it says little else, so that an article about cookies, captchas or error 404 is content.
Promise: a page with more main text than ``PHRASE_CHARS_MAX`` is never refused for what it says,
and one with more than ``CHECK_CHARS_MAX`` shown is no bot check. Limit: a long wall is left to the
model, which may say that it is none.
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

# Lengths count a character of Chinese, Japanese or Korean as three: it says as much.
CHECK_CHARS_MAX = 3_000
PHRASE_CHARS_MAX = 700
SAYING_CHARS_MAX = 400
CONSENT_CHARS_MAX = 1_500
CONTENT_CHARS_MIN = 50
_WIDE = re.compile(r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_PARTS = re.compile(r"\s+[|–—·•:»-]\s+|\s*[|»]\s*")


class Wall(NamedTuple):
    """What a page shows in place of content, and the sign that it was recognised by."""

    kind: EmptyKind
    sign: str


def by_headers(headers: Mapping[str, str]) -> Wall | None:
    """The bot check that a reply's headers name; they do so whatever the status."""
    for name, values in _table()["headers"].items():
        value = headers.get(name, "").strip().lower()
        if value in values:
            return Wall(EmptyKind.BOT_CHECK, f"{name}: {value}")
    return None


def by_content(url: str, asked: str, facts: PageFacts, main: str) -> Wall | None:
    """What a page is instead of content; None for content.

    ``url``: where it was found in the end, when ``asked`` was fetched. ``main``: its main text.
    """
    return (
        _by_address(url, asked)
        or _by_marker(facts)
        or (_by_phrase(facts, main) if weight(main) <= PHRASE_CHARS_MAX else None)
        or _by_consent(facts, main)
        or _by_emptiness(facts, main)
    )


def weight(text: str) -> int:
    """The length of a text in characters of an alphabet."""
    return len(text) + 2 * len(_WIDE.findall(text))


def _by_address(url: str, asked: str) -> Wall | None:
    host, path = _place(url)
    asked_host, asked_path = _place(asked)
    if (host, path) == (asked_host, asked_path):
        # What was searched for and found is content, be it a page for logging in.
        return None
    for kind, places in _table()["addresses"].items():
        for place in places:
            wanted_host, _, wanted_path = place.partition("/")
            if host == wanted_host and path.startswith(f"/{wanted_path}"):
                return Wall(EmptyKind(kind), f"sent on to {place}")
    last = path.rstrip("/").rpartition("/")[2].lower()
    names = _table()["login_paths"]["names"]
    if last in names and asked_path.rstrip("/").rpartition("/")[2].lower() not in names:
        return Wall(EmptyKind.LOGIN_WALL, f"sent on to /{last}")
    return None


def _by_marker(facts: PageFacts) -> Wall | None:
    if weight(facts.visible) > CHECK_CHARS_MAX:
        return None
    for marker in _table()["marker"]:
        if (
            any(sign in facts.scripts for sign in marker.get("script", ()))
            or _inside(marker.get("address", ()), facts.addresses)
            or _inside(marker.get("frame", ()), facts.frames)
            or not facts.ids.isdisjoint(marker.get("id", ()))
        ):
            return Wall(EmptyKind.BOT_CHECK, marker["who"])
    return None


def _by_phrase(facts: PageFacts, main: str) -> Wall | None:
    """By a heading that says just that, or by what is said where little else is."""
    lines = [facts.title, *_PARTS.split(facts.title), *facts.headings]
    for kind, wanted in _phrases("titles").items():
        for line in lines:
            if folded(line) in wanted:
                return Wall(EmptyKind(kind), f"headed {folded(line)!r}")
    if weight(main) > SAYING_CHARS_MAX:
        return None
    shown = facts.visible if weight(facts.visible) <= PHRASE_CHARS_MAX else main
    said = f" {folded(shown)} {folded(facts.title)} "
    for kind, wanted in _phrases("sayings").items():
        for phrase in wanted:
            if phrase in said:
                return Wall(EmptyKind(kind), f"says {phrase!r}")
    return None


def _by_consent(facts: PageFacts, main: str) -> Wall | None:
    """A wall's own text asks for consent, and is the page; a banner stands beside a page's text."""
    texts = _phrases("consent")
    if facts.is_article or weight(main) > CONSENT_CHARS_MAX:
        return None
    if facts.buttons.isdisjoint(texts["buttons"]):
        return None
    said = folded(main, CONSENT_CHARS_MAX)
    asking = next((phrase for phrase in texts["says"] if phrase in said), None)
    return Wall(EmptyKind.CONSENT_WALL, f"says {asking!r}") if asking else None


def _by_emptiness(facts: PageFacts, main: str) -> Wall | None:
    if weight(main) >= CONTENT_CHARS_MIN:
        return None
    unscripted = folded(facts.without_scripts)
    if any(phrase in unscripted for phrase in _phrases("sayings")["javascript_notice"]):
        return Wall(EmptyKind.JAVASCRIPT_NOTICE, "no text without scripts")
    return Wall(EmptyKind.NO_TEXT, f"{len(main)} characters of text")


def _inside(signs: Iterable[str], addresses: Iterable[str]) -> bool:
    return any(sign in address for sign in signs for address in addresses)


def _place(url: str) -> tuple[str, str]:
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
