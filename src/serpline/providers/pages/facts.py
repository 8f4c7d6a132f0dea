"""The visible text and the structure of a page, from which ``walls`` recognises walls.

Promise: the work and the result are bounded for every page. Limit: scripts are not run.
"""

import re
from dataclasses import dataclass
from typing import Any

from lxml import etree  # type: ignore[import-untyped]

VISIBLE_CHARS_MAX = 20_000
CODE_CHARS_MAX = 200_000
NAMES_MAX = 5_000
HEADINGS_MAX = 10
_FIELD_CHARS_MAX = 1_000
# Elements that are never shown, or only without scripts.
_HIDDEN = frozenset({"script", "style", "noscript", "template", "head", "svg", "select"})
_HEADINGS = frozenset({"h1", "h2"})
_ADDRESSES = {"script": "src", "iframe": "src", "frame": "src", "form": "action"}
_ARTICLE_TYPES = re.compile(r'"@type"\s*:\s*\[?\s*"[A-Za-z]*(?:Article|Posting|Recipe|Review)"')


@dataclass(frozen=True, slots=True)
class PageFacts:
    """``visible``: the visible text, cut. ``scripts``: the text of inline scripts, cut.

    ``frames``: addresses of frames. ``addresses``: those of scripts, frames, forms and refreshes.
    ``buttons``: texts of buttons and links. ``without_scripts``: the text of ``noscript`` elements.
    ``is_article``: the page's metadata declares an article.
    """

    title: str = ""
    headings: tuple[str, ...] = ()
    visible: str = ""
    scripts: str = ""
    frames: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    ids: frozenset[str] = frozenset()
    buttons: frozenset[str] = frozenset()
    without_scripts: str = ""
    is_article: bool = False


def read_facts(tree: Any) -> PageFacts:
    """Read the facts from an lxml tree of HTML."""
    shown = _Bounded(VISIBLE_CHARS_MAX)
    scripts, unscripted = _Bounded(CODE_CHARS_MAX), _Bounded(_FIELD_CHARS_MAX)
    title = ""
    headings: list[str] = []
    frames: list[str] = []
    addresses: list[str] = []
    ids: set[str] = set()
    buttons: set[str] = set()
    is_article = False
    walk = etree.iterwalk(tree, events=("start", "end"))
    for event, element in walk:
        tag = element.tag
        if not isinstance(tag, str):
            continue
        if event == "end":
            shown.add(element.tail)
            continue
        if len(ids) < NAMES_MAX and (name := element.get("id")):
            ids.add(name)
        if tag in _ADDRESSES and len(addresses) < NAMES_MAX:
            address = (element.get(_ADDRESSES[tag]) or "")[:_FIELD_CHARS_MAX]
            addresses.append(address)
            if tag in ("iframe", "frame"):
                frames.append(address)
        if tag == "title" and not title:
            title = _line(_text(element))
        elif tag in _HEADINGS and len(headings) < HEADINGS_MAX:
            headings.append(_line(_text(element)))
        elif tag == "script":
            code = element.text or ""
            scripts.add(code)
            is_article = is_article or _ARTICLE_TYPES.search(code[:CODE_CHARS_MAX]) is not None
        elif tag == "noscript":
            unscripted.add(_text(element))
        elif tag == "meta":
            content = (element.get("content") or "")[:_FIELD_CHARS_MAX]
            if (element.get("http-equiv") or "").lower() == "refresh":
                addresses.append(content)
            name_of_meta = (element.get("property") or element.get("name") or "").lower()
            is_article = is_article or (
                name_of_meta.startswith("article:")
                or (name_of_meta == "og:type" and content == "article")
            )
        elif tag in ("button", "a", "input") and len(buttons) < NAMES_MAX:
            buttons.add(folded(element.get("value") or "" if tag == "input" else _text(element)))
        if tag in _HIDDEN and tag != "head":
            walk.skip_subtree()
        elif tag not in ("head", "title"):
            shown.add(element.text)
    return PageFacts(
        title=title,
        headings=tuple(headings),
        visible=_line(shown.text(), VISIBLE_CHARS_MAX),
        scripts=scripts.text(),
        frames=tuple(frames),
        addresses=tuple(addresses),
        ids=frozenset(ids),
        buttons=frozenset(buttons),
        without_scripts=_line(unscripted.text()),
        is_article=is_article,
    )


class _Bounded:
    """Collects texts up to a total number of characters."""

    def __init__(self, characters_max: int) -> None:
        self._left = characters_max
        self._parts: list[str] = []

    def add(self, text: str | None) -> None:
        if text and self._left > 0:
            self._parts.append(text[: self._left])
            self._left -= len(text)

    def text(self) -> str:
        return " ".join(self._parts)


def folded(text: str, characters_max: int = _FIELD_CHARS_MAX) -> str:
    """Fold ``text`` to compare phrases: case, white space, apostrophes, punctuation at the ends."""
    line = " ".join(text[:characters_max].replace("’", "'").split())
    return line.casefold().strip(" .…!。,:;")


def _text(element: Any) -> str:
    found = _Bounded(_FIELD_CHARS_MAX)
    for count, part in enumerate(element.itertext()):
        found.add(part)
        if count > _FIELD_CHARS_MAX:
            break
    return found.text()


def _line(text: str, characters_max: int = _FIELD_CHARS_MAX) -> str:
    return " ".join(text.split())[:characters_max]
