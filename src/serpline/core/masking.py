"""Known secrets taken out of a text, or of bytes that come in pieces, however they are spelled."""

import base64
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, quote_plus

# Letters only, so that what it stands in stays a valid URL, header or JSON text.
MASK = "REDACTED"
_MASK_BYTES = MASK.encode()


def mask(text: str, secrets: Iterable[str]) -> str:
    """``text`` without any of ``secrets``. Never raises; empty secrets are ignored."""
    for spelling in spellings(tuple(secrets)):
        text = text.replace(spelling, MASK)
    return text


class StreamMask:
    """``mask`` for bytes in pieces, whose joints may run through a secret.

    Spellings shorter than ``chars_min`` are left: one might be a chance match.
    """

    def __init__(self, secrets: Iterable[str], chars_min: int = 1) -> None:
        found = (spelling for spelling in spellings(tuple(secrets)) if len(spelling) >= chars_min)
        self._spellings = [spelling.encode("utf-8", "surrogatepass") for spelling in found]
        self._kept = max(map(len, self._spellings), default=1) - 1
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What is certain by now; a little is held until more comes."""
        masked = self._masked(self._held + piece if self._held else piece)
        cut = max(0, len(masked) - self._kept)
        self._held = masked[cut:]
        return masked[:cut] if self._held else masked

    def finish(self) -> bytes:
        """The rest."""
        rest, self._held = self._held, b""
        return rest

    def _masked(self, data: bytes) -> bytes:
        for spelling in self._spellings:
            data = data.replace(spelling, _MASK_BYTES)
        return data


@lru_cache(maxsize=256)
def spellings(secrets: tuple[str, ...]) -> tuple[str, ...]:
    """Each secret as it may appear: plain, percent-encoded, JSON-escaped, Base64; longest first."""
    found: set[str] = set()
    for secret in filter(None, secrets):
        token = base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode("ascii")
        found |= {secret, json.dumps(secret)[1:-1], token, token.rstrip("=")}
        for encode in (quote, quote_plus):
            encoded = encode(secret.encode("utf-8", "surrogatepass"), safe="")
            found |= {encoded, re.sub(r"%[0-9A-F]{2}", lambda m: m[0].lower(), encoded)}
    return tuple(sorted(found, key=lambda spelling: (-len(spelling), spelling)))
