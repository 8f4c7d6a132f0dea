"""A company as an external source describes it."""

import re
from dataclasses import dataclass
from typing import Literal

_LABEL = re.compile(r"(?!-)(?:[^\W_]|-){1,63}(?<!-)")
_DOMAIN_CHARS_MAX = 253

CompanySource = Literal["pdl", "wikidata"]
# Figures name a channel without a known owner by this address and its id.
CHANNEL_ADDRESS = "youtube.com/channel/"


@dataclass(frozen=True, slots=True)
class Company:
    """The company that owns a registrable domain. None means that the source has no value.

    ``domain`` is the requested domain, not the first in the source's list. ``country`` and
    ``industry`` are in the source's spelling, in English where it has English. ``size`` is a range
    of employees (``51-200``, ``10001+``). ``founded`` is a year of the common era. ``source_id`` is
    the source's own key (a PDL id, a Wikidata Q-number).
    """

    name: str
    domain: str
    source: CompanySource
    source_id: str | None = None
    industry: str | None = None
    country: str | None = None
    headquarters: str | None = None
    employee_count: int | None = None
    size: str | None = None
    founded: int | None = None
    linkedin_url: str | None = None
    ticker: str | None = None
    parent: str | None = None


def is_domain_name(text: str) -> bool:
    """Whether ``text`` is a domain that a company lookup accepts: at least two labels.

    Labels hold letters, digits and hyphens, in any script that IDNA encodes. IP addresses fail.
    """
    labels = text.lower().split(".")
    if len(text) > _DOMAIN_CHARS_MAX or len(labels) < 2 or labels[-1].isdigit():
        return False
    if not all(map(_LABEL.fullmatch, labels)):
        return False
    try:
        return len(text.encode("idna")) <= _DOMAIN_CHARS_MAX
    except UnicodeError:
        return False
