"""What a text may hold to be kept, and what of it nobody can see."""

import re
from collections.abc import Mapping
from typing import Any

# What JSON and a command line can bring, and PostgreSQL cannot store.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt), without what changes how the
# neighbours look: the joiners (U+200C, U+200D), which Persian, the scripts of India and emoji need;
# the variation selectors, which are below; the fillers of Hangul (U+115F, U+1160), which build
# syllables.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff"
    "\U000e01f0-\U000e0fff]"
)
_VARIATION_SELECTORS = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can keep it: no NUL, no half of a surrogate pair.

    Such halves are also what bytes of the command line become that are not UTF-8.
    """
    return _UNSTORABLE.search(text) is None


def storable(value: Any) -> Any:
    """``value`` with U+FFFD for what PostgreSQL cannot store, in every text and key of it.

    Mappings, lists and tuples are walked; mappings come out as dictionaries, tuples as lists.
    """
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {storable(key): storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    return value


def visible(text: str) -> str:
    """``text`` without characters that change nothing of what is seen or meant.

    Zero-width spaces, soft hyphens, word joiners, byte order marks and marks of direction come with
    text that was copied from a page.
    """
    return _INVISIBLE.sub("", text)


def without_variants(text: str) -> str:
    """``text`` without variation selectors: "❤" and "❤️" are one word in two fonts."""
    return _VARIATION_SELECTORS.sub("", text)
