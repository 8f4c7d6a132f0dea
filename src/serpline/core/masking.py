"""Replaces known secrets, in every spelling, in a text or in bytes that come in pieces."""

import base64
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, quote_plus

# Letters only, so that the masked URL, header or JSON text stays valid.
MASK = "REDACTED"
_MASK_BYTES = MASK.encode()


def mask(text: str, secrets: Iterable[str]) -> str:
    """``text`` without ``secrets``. Never raises. Ignores empty secrets."""
    for spelling in spellings(tuple(secrets)):
        text = text.replace(spelling, MASK)
    return text


class StreamMask:
    """Masks secrets in bytes that come in pieces. The result does not depend on the pieces.

    Where several spellings begin, the longest counts. Spellings shorter than ``chars_min`` stay,
    because they might match by chance.
    """

    def __init__(self, secrets: Iterable[str], chars_min: int = 1) -> None:
        self._spellings = _encoded(tuple(secrets), chars_min)
        self._tail_size = len(self._spellings[0]) - 1 if self._spellings else 0
        self._tail = b""

    def feed(self, piece: bytes) -> bytes:
        """Add a piece. Returns the finished bytes; the last few may begin a longer spelling."""
        data = self._tail + piece if self._tail else piece
        return self._masked(data, max(0, len(data) - self._tail_size))

    def finish(self) -> bytes:
        """The rest."""
        return self._masked(self._tail, len(self._tail))

    def _masked(self, data: bytes, until: int) -> bytes:
        parts, at = [], 0
        # Searching for each spelling costs a fraction of one search for any of them.
        if any(spelling in data for spelling in self._spellings):
            for match in _any_of(self._spellings).finditer(data):
                if match.start() >= until:
                    break
                parts += [data[at : match.start()], _MASK_BYTES]
                at = match.end()
        until = max(at, until)
        self._tail = data[until:]
        return b"".join([*parts, data[at:until]])


@lru_cache(maxsize=256)
def _encoded(secrets: tuple[str, ...], chars_min: int) -> tuple[bytes, ...]:
    found = (spelling for spelling in spellings(secrets) if len(spelling) >= chars_min)
    encoded = (spelling.encode("utf-8", "surrogatepass") for spelling in found)
    return tuple(sorted(encoded, key=len, reverse=True))


@lru_cache(maxsize=256)
def _any_of(longest_first: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(map(re.escape, longest_first)))


@lru_cache(maxsize=256)
def spellings(secrets: tuple[str, ...]) -> tuple[str, ...]:
    """Each secret's spellings: plain, percent-encoded, JSON-escaped, Base64; longest first."""
    found: set[str] = set()
    for secret in filter(None, secrets):
        token = base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode("ascii")
        found |= {secret, json.dumps(secret)[1:-1], token, token.rstrip("=")}
        for encode in (quote, quote_plus):
            encoded = encode(secret.encode("utf-8", "surrogatepass"), safe="")
            found |= {encoded, re.sub(r"%[0-9A-F]{2}", lambda m: m[0].lower(), encoded)}
    return tuple(sorted(found, key=lambda spelling: (-len(spelling), spelling)))
