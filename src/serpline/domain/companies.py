"""A company as an external source knows it, whichever source that was."""

import re
from dataclasses import dataclass
from typing import Literal

_LABEL = re.compile(r"(?!-)(?:[^\W_]|-){1,63}(?<!-)")
_DOMAIN_CHARS_MAX = 253

CompanySource = Literal["pdl", "wikidata"]
# Figures name a channel without a known owner by its address: this and the channel's id.
CHANNEL_ADDRESS = "youtube.com/channel/"


@dataclass(frozen=True, slots=True)
class Company:
    """The company behind a registrable domain; None means that the source does not say.

    ``domain`` is the domain that was asked for, not the one the source lists first. ``country``
    and ``industry`` are English where the source has English, spelled as it spells them; ``size``
    is a range of employees (``51-200``, ``10001+``); ``founded`` is a year of the common era;
    ``source_id`` is the source's own key (a PDL id, a Wikidata Q-number).
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
    """Whether a company can be asked about by ``text``: two labels or more, of letters and digits.

    Letters of any script, as long as IDNA can write them. An address of a machine is no name.
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
