"""Parses SPARQL results in JSON into companies.

The newest value of a fact wins, by its start or its point in time; values that start in the future
are ignored. Among values without a date the order is: a name in the preferred language, the older
item, the larger count, the earlier year.

Several items may claim one website (a company, its product, its magazine). The item with an
employee count wins, then the one with the most facts, then the oldest, so the answer does not
depend on the order of rows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

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


class _Statement(NamedTuple):
    """A value of a fact, None if unreadable. The least rank wins."""

    rank: tuple[int, bool, int, int, str]
    value: Any


_FACTS = frozenset(
    {"name", "industry", "country", "headquarters", "employee_count", "founded", "linkedin_url"}
    | {"ticker", "parent"}
)
Facts = dict[str, _Statement]


def companies(
    reply: HttpReply,
    *,
    domains: Sequence[str],
    languages: Sequence[str],
    now: Callable[[], datetime],
) -> dict[str, Company | None]:
    """Domain → company, for the ``domains`` that have one; None: unreadable (``by_key``).

    ``languages``: Wikidata's codes, the preferred first. Raises ``ProviderError`` for a reply that
    is not a table.
    """
    if reply.status != 200:
        raise failure(reply, now())
    domain_of = {site: domain for domain in domains for site in sites(domain)}
    today = now().date().toordinal()
    items: dict[tuple[str, int], Facts] = {}
    unreadable: list[tuple[str | None, None]] = []
    for row in _rows(reply):
        site, item = _value(row, "site", "uri"), _value(row, "company", "uri")
        match = _ITEM.fullmatch(item or "")
        domain = None if site is None else domain_of.get(site)
        if site is not None and domain is None:
            continue
        if domain is None or match is None:
            unreadable.append((domain, None))
            continue
        facts = items.setdefault((domain, int(match[1])), {})
        fact, since = _value(row, "fact"), _day(_value(row, "since"))
        if fact is not None and since <= today:
            statement = _statement(row, fact, since, languages)
            facts[fact] = min(statement, facts.get(fact, statement))
    found = [_company(facts, *item) for item, facts in items.items()]
    best = {company.domain: company for company in sorted(found, key=_rank)}
    return by_key(reply, "wikidata", domains, [*best.items(), *unreadable])


def _rows(reply: HttpReply) -> list[Row]:
    results = json_object(reply, "wikidata").get("results")
    rows = results.get("bindings") if isinstance(results, dict) else None
    if not isinstance(rows, list):
        raise malformed(reply, "wikidata", "JSON that is not a table of results")
    return [as_object(row) for row in rows]


def _value(row: Row, name: str, kind: str = "literal") -> str | None:
    """A bound value of this kind, or None. Wikidata's "unknown value" is a blank node: None."""
    cell = row.get(name)
    if not isinstance(cell, dict):
        return None
    # Older releases of the service send "typed-literal".
    kinds = ("literal", "typed-literal") if kind == "literal" else (kind,)
    return as_text(cell.get("value")) if cell.get("type") in kinds else None


def _day(text: str | None) -> int:
    """The day as an ordinal number; 0 if unreadable."""
    try:
        return date.fromisoformat((text or "")[:10]).toordinal()
    except ValueError:
        return 0


def _statement(row: Row, fact: str, since: int, languages: Sequence[str]) -> _Statement:
    value, language, number = _read(row, fact, languages)
    return _Statement((-since, value is None, language, number, str(value)), value)


def _read(row: Row, fact: str, languages: Sequence[str]) -> tuple[Any, int, int]:
    """The value, its language's position, and the number that breaks ties."""
    text = _value(row, "value")
    match fact:
        case "employee_count":
            # A quantity may be written "+1200" or "1200.0".
            count = as_count(as_number(text))
            return count, 0, -(count or 0)
        case "founded":
            year = _YEAR.match(text or "")
            return (int(year[1]), 0, int(year[1])) if year else (None, 0, 0)
        case "linkedin_url":
            return f"https://www.linkedin.com/company/{text}" if text else None, 0, 0
        case "ticker":
            return text, 0, 0
    item = _ITEM.fullmatch(_value(row, "value", "uri") or "")
    return *_label(row, languages), int(item[1]) if item else 0


def _label(row: Row, languages: Sequence[str]) -> tuple[str | None, int]:
    """A name and its language's position; None if the language is not among them."""
    cell = row.get("label")
    tag = cell.get("xml:lang") if isinstance(cell, dict) else None
    if tag not in languages:
        return None, len(languages)
    return _value(row, "label"), languages.index(tag)


def _company(facts: Facts, domain: str, number: int) -> Company:
    known = {fact: statement.value for fact, statement in facts.items() if fact in _FACTS}
    # An item without a name in these languages is still a company, named by its domain.
    name = known.pop("name", None) or domain
    return Company(name=name, domain=domain, source="wikidata", source_id=f"Q{number}", **known)


def _rank(company: Company) -> tuple[bool, int, int]:
    """The rank among companies with one website; the greatest wins."""
    facts = (company.industry, company.country, company.headquarters, company.founded)
    number = int((company.source_id or "Q0")[1:])
    return company.employee_count is not None, sum(f is not None for f in facts), -number
