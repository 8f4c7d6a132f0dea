"""Handles of YouTube channels: their syntax and canonical spelling.

YouTube's help ("Handle guidelines", support.google.com/youtube/answer/11585688): 3 to 30 letters
and digits of 75 languages, with underscores, hyphens, full stops and middle dots. Case makes no
difference. Some scripts have other lengths (a Chinese, Japanese or Korean handle may have one
character). The lengths of each script are not published, so a letter of any script without case
allows a short handle. A text mistaken for a handle costs one lookup.
"""

import unicodedata

LETTERS_MIN, LETTERS_MAX = 3, 30
_CHARACTERS_MAX = 100
_PUNCTUATION = frozenset("_-.·")
# They join or separate the letters of Persian, Malayalam or Sinhala, like marks.
_JOINERS = frozenset("\u200c\u200d")


def channel_handle(text: str) -> str | None:
    """The canonical spelling of a handle such as ``@Acme``, or None if ``text`` is not one.

    Lower case and composed (NFC), without further folding: ``@straße`` is not ``@strasse``.
    """
    if not text.startswith("@") or len(text) > _CHARACTERS_MAX:
        return None
    name = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text[1:]).lower())
    kinds = [_kind(character) for character in name]
    if not kinds or None in kinds or kinds[0] == "mark":
        return None
    least = 1 if "caseless" in kinds else LETTERS_MIN
    spaced = len(kinds) - kinds.count("mark")
    has_letters = spaced > kinds.count("punctuation")
    return f"@{name}" if has_letters and least <= spaced <= LETTERS_MAX else None


def _kind(character: str) -> str | None:
    if character in _PUNCTUATION:
        return "punctuation"
    category = unicodedata.category(character)
    if character in _JOINERS or category.startswith("M"):
        return "mark"
    if category == "Lo":
        return "caseless"
    return "letter" if category.startswith("L") or category == "Nd" else None
