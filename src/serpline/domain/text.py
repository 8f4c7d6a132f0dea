"""Text that PostgreSQL can store, invisible characters, and lengths of time."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

# JSON and a command line can contain these; PostgreSQL cannot store them.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt), except characters that change
# how their neighbours look: the joiners (U+200C, U+200D) of Persian, Indic scripts and emoji; the
# variation selectors (below); the Hangul fillers (U+115F, U+1160), which form syllables.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff"
    "\U000e01f0-\U000e0fff]"
)
# Joiners belong to the spelling of Persian, Indic scripts and some emoji.
_JOINERS = "\u200c\u200d"
_VARIATION_SELECTORS = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can store ``text``: no NUL, no half of a surrogate pair.

    Command line bytes that are not UTF-8 also become such halves.
    """
    return _UNSTORABLE.search(text) is None


def is_printable(text: str) -> bool:
    """Whether ``text`` has only visible characters, joiners and spaces of any script.

    Line ends, tabs, other controls and direction marks are none.
    """
    return all(
        each.isprintable() or each in _JOINERS or unicodedata.category(each) == "Zs"
        for each in text
    )


def composed(text: str) -> str:
    """``text`` in Unicode NFC: the two spellings of "é" (one character, or two) become one."""
    return unicodedata.normalize("NFC", text)


def is_name(text: str) -> bool:
    """Whether people can tell ``text`` from other names: printable, no space at an end, visible."""
    is_visible = any(each not in _JOINERS for each in text)
    return is_visible and text == text.strip() and is_printable(text)


def storable(value: Any) -> Any:
    """Replace characters that PostgreSQL cannot store by U+FFFD, in every string and key.

    Walks mappings, lists and tuples. Mappings become dictionaries, tuples become lists.
    """
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {storable(key): storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    return value


def visible(text: str) -> str:
    """``text`` without characters that change neither its look nor its meaning.

    Text copied from a page often has zero-width spaces, soft hyphens, word joiners, byte order
    marks and direction marks.
    """
    return _INVISIBLE.sub("", text)


def without_variants(text: str) -> str:
    """``text`` without variation selectors: "❤" and "❤️" are one word in two fonts."""
    return _VARIATION_SELECTORS.sub("", text)


_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def length_of_time(seconds: float) -> str:
    """A length of time in its largest unit, such as ``2 h``."""
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"
