"""Apprise URLs are secrets: what may be shown of one, and answers without its parts."""

import re
from typing import Final
from urllib.parse import unquote

from serpline.core.escaping import terminal_text
from serpline.core.masking import MASK, mask

ANSWER_CHARS_MAX: Final = 500
# Shorter parts are words such as "yes" more often than secrets.
_PART_CHARS_MIN: Final = 4
_BETWEEN_PARTS: Final = re.compile(r"[/:@?&=#,;+\s]+")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]{0,30}(?=://)", re.IGNORECASE)


def service_of(url: str) -> str:
    """Return the only part of a URL that may be shown: its scheme, which names the service."""
    found = _SCHEME.match(url)
    return found[0].lower() if found else "?"


def without_url(text: str, url: str) -> str:
    """Return a service's answer as one short line without any part of the URL."""
    service = service_of(url)
    rest = url.partition("://")[2]
    parts = {url, rest, unquote(url), unquote(rest)}
    for spelled in (rest, unquote(rest)):
        parts |= {part for part in _BETWEEN_PARTS.split(spelled) if len(part) >= _PART_CHARS_MIN}
    line = " ".join(terminal_text(mask(text, sorted(parts - {service}))).split())
    while MASK * 2 in line:
        line = line.replace(MASK * 2, MASK)
    return line if len(line) <= ANSWER_CHARS_MAX else f"{line[: ANSWER_CHARS_MAX - 1]}…"
