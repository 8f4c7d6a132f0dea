"""A company as an external source knows it, whichever source that was."""

from dataclasses import dataclass
from typing import Literal

CompanySource = Literal["pdl", "wikidata"]


@dataclass(frozen=True, slots=True)
class Company:
    """The company behind a registrable domain; None means that the source does not say.

    ``domain`` is the domain that was asked for, not the one the source lists first. ``country``
    and ``industry`` are English, spelled as the source spells them; ``founded`` is a year of the
    common era; ``source_id`` is the source's own key (a PDL id, a Wikidata Q-number).
    """

    name: str
    domain: str
    source: CompanySource
    source_id: str | None = None
    industry: str | None = None
    country: str | None = None
    headquarters: str | None = None
    employee_count: int | None = None
    founded: int | None = None
    linkedin_url: str | None = None
    ticker: str | None = None
    parent: str | None = None
