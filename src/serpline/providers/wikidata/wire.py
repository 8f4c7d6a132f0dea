"""SPARQL results in JSON, read into companies.

Several items may claim one website (a company, its product, its magazine): the one with staff,
then the one about which most is known, then the oldest item is taken, so that the answer does not
depend on the order of rows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from serpline.domain.companies import Company
from serpline.domain.http import HttpReply
from serpline.domain.replies import (
    as_count,
    as_number,
    as_object,
    as_text,
    by_key,
    json_object,
    malformed,
)
from serpline.providers.wikidata.errors import failure
from serpline.providers.wikidata.sparql import sites

_ITEM = re.compile(r"https?://www\.wikidata\.org/entity/Q([1-9][0-9]{0,17})")
_YEAR = re.compile(r"\+?0*([1-9][0-9]{0,3})-")

Row = Mapping[str, Any]


def companies(
    reply: HttpReply, *, domains: Sequence[str], now: Callable[[], datetime]
) -> dict[str, Company | None]:
    """Domain → company, for those of ``domains`` that have one; None: unreadable (``by_key``).

    Raises ``ProviderError`` for a reply that is no table.
    """
    if reply.status != 200:
        raise failure(reply, now())
    asked = {site: domain for domain in domains for site in sites(domain)}
    best: dict[str, tuple[tuple[bool, int, int], Company]] = {}
    strange: list[tuple[str | None, None]] = []
    for row in _rows(reply):
        site, item = _value(row, "site", "uri"), _value(row, "company", "uri")
        match = _ITEM.fullmatch(item or "")
        domain = None if site is None else asked.get(site)
        if site is not None and domain is None:
            continue
        if domain is None or match is None:
            strange.append((domain, None))
            continue
        number = int(match[1])
        found = _company(row, domain, number)
        known = sum(
            fact is not None
            for fact in (found.industry, found.country, found.headquarters, found.founded)
        )
        rank = (found.employee_count is not None, known, -number)
        if found.domain not in best or rank > best[found.domain][0]:
            best[found.domain] = (rank, found)
    chosen = [(name, company) for name, (_, company) in best.items()]
    return by_key(reply, "wikidata", domains, [*chosen, *strange])


def _rows(reply: HttpReply) -> list[Row]:
    results = json_object(reply, "wikidata").get("results")
    rows = results.get("bindings") if isinstance(results, dict) else None
    if not isinstance(rows, list):
        raise malformed(reply, "wikidata", "JSON that is not a table of results")
    return [as_object(row) for row in rows]


def _value(row: Row, name: str, kind: str = "literal") -> str | None:
    """A bound value of the kind wanted; an "unknown value" is a blank node and so None."""
    cell = row.get(name)
    if not isinstance(cell, dict):
        return None
    # "typed-literal" is what the service's older releases write.
    kinds = ("literal", "typed-literal") if kind == "literal" else (kind,)
    return as_text(cell.get("value")) if cell.get("type") in kinds else None


def _company(row: Row, domain: str, number: int) -> Company:
    year = _YEAR.match(_value(row, "inception") or "")
    linkedin = _value(row, "linkedin")
    return Company(
        # An item without an English label is still a company: it goes by its domain.
        name=_value(row, "companyLabel") or domain,
        domain=domain,
        source="wikidata",
        source_id=f"Q{number}",
        industry=_value(row, "industryLabel"),
        country=_value(row, "countryLabel"),
        headquarters=_value(row, "hqLabel"),
        # A quantity may be written "+1200" or "1200.0".
        employee_count=as_count(as_number(_value(row, "employees"))),
        founded=int(year[1]) if year else None,
        linkedin_url=f"https://www.linkedin.com/company/{linkedin}" if linkedin else None,
        ticker=_value(row, "ticker"),
        parent=_value(row, "parentLabel"),
    )
