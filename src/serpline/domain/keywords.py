"""Keywords: what is stored, what is searched, and when two of them are equal.

A keyword is stored and shown as written, except for Unicode NFC and single spaces. It is searched
without invisible characters (``searched``). Two keywords are equal, and bought once, if their
searches are equal after case folding and without variation selectors. NFC and not NFKC, because
compatibility forms are other words ("x²" is not "x2", "①" is not "1"). Limits: 200 characters and
32 words, because Google ignores words after the 32nd. Longer keywords are rejected and not cut,
because a cut keyword is another keyword.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from serpline.domain.text import visible, without_variants

CHARACTERS_MAX = 200
WORDS_MAX = 32
TAGS_MAX = 20
TAG_CHARACTERS_MAX = 64
SHOWN_CHARACTERS_MAX = 60

_TAG_SEPARATORS = re.compile("[,;|]")
# What a spreadsheet leaves of a keyword that it took for a formula, in its language: #NAME?,
# #WERT!, #¡REF!, #N/A.
_SHEET_ERROR = re.compile(r"#[¡¿]?[A-ZÀ-ÖØ-Ý/0]{2,}[!?]|#N/A|#N/D|#NV")
# How Excel writes 1e5 and numbers of more than 11 digits into a CSV file.
_SHEET_NUMBER = re.compile(r"\d(?:[.,]\d+)?E\+\d+")
# What a decoder leaves of bytes that it lost.
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class KeywordRow:
    """One keyword in one market. ``keyword`` is for people and searches, ``key`` for equality.

    ``market`` is the market's stored code. ``line`` is the line of the file, from 1.
    """

    line: int
    keyword: str
    key: str
    market: str
    tags: tuple[str, ...] = ()


def keyword_key(keyword: str) -> str:
    """The key that equal keywords share: as searched, case folded, without variation selectors."""
    # Folding is defined on decomposed text (Unicode, canonical caseless matching).
    decomposed = unicodedata.normalize("NFD", without_variants(searched(keyword)))
    return " ".join(unicodedata.normalize("NFC", decomposed.casefold()).split())


def normal_keyword(keyword: str) -> str:
    """The keyword as stored: NFC, stripped, inner space collapsed."""
    return " ".join(unicodedata.normalize("NFC", keyword).split())


def searched(keyword: str) -> str:
    """The keyword as sent to providers: its visible characters."""
    return normal_keyword(visible(keyword))


def keyword_problem(raw: str) -> str | None:
    """Why ``raw`` cannot be a keyword, with the value; None if it can."""
    if "\n" in raw:
        return f"line break in keyword {shown(raw)}"
    if _has_control(raw):
        return f"control character in keyword {shown(raw)}"
    if _REPLACEMENT in raw:
        return f"unreadable character in keyword {shown(raw)}: is the encoding right?"
    normal = normal_keyword(raw)
    if _SHEET_ERROR.fullmatch(normal):
        return f"spreadsheet error {shown(normal)} instead of a keyword"
    if _SHEET_NUMBER.fullmatch(normal):
        return f"a spreadsheet's number {shown(normal)} instead of a keyword"
    # A keyword of zero-width characters alone is invisible.
    seen = searched(normal)
    if all(unicodedata.category(character) in ("Cf", "Mn") for character in seen):
        return "empty keyword"
    if len(normal) > CHARACTERS_MAX:
        return f"keyword of {len(normal)} characters, over {CHARACTERS_MAX}: {shown(normal)}"
    words = seen.count(" ") + 1
    if words > WORDS_MAX:
        return f"keyword of {words} words, over {WORDS_MAX}: {shown(normal)}"
    return None


def read_tags(cell: str) -> tuple[str, ...] | str:
    """The distinct tags of a cell, separated by ``,``, ``;`` or ``|``; or their problem."""
    if "\n" in cell:
        return f"line break in tags {shown(cell)}"
    if _has_control(cell):
        return f"control character in tags {shown(cell)}"
    if _REPLACEMENT in cell:
        return f"unreadable character in tags {shown(cell)}: is the encoding right?"
    given = (searched(tag) for tag in _TAG_SEPARATORS.split(cell))
    tags = union_tags(tag for tag in given if tag)
    if len(tags) > TAGS_MAX:
        return f"{len(tags)} tags, over {TAGS_MAX}: {shown(cell)}"
    for tag in tags:
        if len(tag) > TAG_CHARACTERS_MAX:
            return f"tag of {len(tag)} characters, over {TAG_CHARACTERS_MAX}: {shown(tag)}"
    return tags


def union_tags(*several: Iterable[str]) -> tuple[str, ...]:
    """All tags in order. Of tags that differ in case only, the first."""
    unique: dict[str, str] = {}
    for tags in several:
        for tag in tags:
            unique.setdefault(tag.casefold(), tag)
    return tuple(unique.values())


def shown(text: str) -> str:
    """Format a value for a message: quoted, control characters escaped, at most 60 characters."""
    cut = text[:SHOWN_CHARACTERS_MAX] + "…" if len(text) > SHOWN_CHARACTERS_MAX else text
    return repr(cut)


def _has_control(text: str) -> bool:
    return not text.isprintable() and any(unicodedata.category(c) == "Cc" for c in text)
