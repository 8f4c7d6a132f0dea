"""Known secrets taken out of a text, however they are spelled in it."""

import base64
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, quote_plus

# Letters only, so that what it stands in stays a valid URL, header or JSON text.
MASK = "REDACTED"


def mask(text: str, secrets: Iterable[str]) -> str:
    """``text`` without any of ``secrets``. Never raises; empty secrets are ignored."""
    for spelling in spellings(tuple(secrets)):
        text = text.replace(spelling, MASK)
    return text


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
