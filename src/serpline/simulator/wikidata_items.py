"""The items of simulated companies, as Wikidata's own triples.

Like Wikidata's, the items are untidy: counts of several years, a former headquarters and a former
parent, a deprecated count, a preferred one, labels only in the default language or in the company's
own. The current values are the directory's.

The model: https://www.mediawiki.org/wiki/Wikibase/Indexing/RDF_Dump_Format.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyoxigraph import Literal, NamedNode, Quad, Store

from serpline.simulator.seeds import stamp, unit
from serpline.simulator.world import World
from serpline.simulator.world.companies import COUNTRIES, Company, Kind, Known

ENTITY = "http://www.wikidata.org/entity/"
PREFIXES = {
    "wd": ENTITY,
    "wdt": "http://www.wikidata.org/prop/direct/",
    "p": "http://www.wikidata.org/prop/",
    "ps": "http://www.wikidata.org/prop/statement/",
    "pq": "http://www.wikidata.org/prop/qualifier/",
    "wikibase": "http://wikiba.se/ontology#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "schema": "http://schema.org/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
_LANGUAGES = {"DE": "de", "FR": "fr", "PL": "pl", "JP": "ja"}
_NORMAL, _PREFERRED, _DEPRECATED = "Normal", "Preferred", "Deprecated"
Term = NamedNode | Literal


@dataclass(frozen=True, slots=True)
class Statement:
    """A value of a property, with rank and qualifiers."""

    value: Term | None
    rank: str = _NORMAL
    qualifiers: Mapping[str, Term] = field(default_factory=dict)


def graph_of(world: World, sites: Sequence[str]) -> Store:
    """The items whose official website is in ``sites``, with the items they refer to."""
    store = Store()
    for site in dict.fromkeys(sites):
        host = site.split("//", 1)[-1].strip("/").lower()
        company = world.directory.by_domain.get(host.removeprefix("www."))
        if company is not None and site == _website(world.seed, company) and _known(world, company):
            _describe(store, world, company, site)
    return store


def _known(world: World, company: Company) -> bool:
    if company.known is Known.COMMERCIAL:
        return unit(world.seed, "wd", company.domain) <= 0.4
    return company.known is Known.FREE


def _website(seed: int, company: Company) -> str:
    """The one form of the website that the item has; clients must query several variants."""
    forms = (
        f"https://www.{company.domain}/",
        f"https://www.{company.domain}",
        f"https://{company.domain}/",
        f"https://{company.domain}",
    )
    return forms[stamp(seed, "P856", company.domain) % len(forms)]


def _describe(store: Store, world: World, company: Company, site: str) -> None:
    seed, item = world.seed, f"Q{900_000 + company.index}"
    country, _, _, city, _ = company.country
    place = COUNTRIES.index(company.country)
    former = COUNTRIES[(place + 1) % len(COUNTRIES)][3]
    own = _own_language(company)
    _label(store, item, company.name, name_languages(seed, company))
    _label(store, f"Q{30 + place}", country.title(), ("en", own))
    _label(store, f"Q{60_000 + place}", city.title(), ("en", own))
    _label(store, f"Q{60_000 + (place + 1) % len(COUNTRIES)}", former.title(), ("en",))
    industry = f"Q{700_000 + stamp(company.industry) % 1_000}"
    _label(store, industry, company.industry, ("en", own))
    _add_statements(store, item, "P31", [Statement(_wd("Q4830453"))])
    _add_statements(store, item, "P856", [Statement(NamedNode(site))])
    _add_statements(store, item, "P452", [Statement(_wd(industry))])
    _add_statements(store, item, "P17", [Statement(_wd(f"Q{30 + place}"))])
    _add_statements(store, item, "P571", [Statement(_day(company.founded))])
    _add_statements(store, item, "P1128", _employees(seed, company))
    moved = {"P582": _day(2010)}, {"P580": _day(2010)}
    _add_statements(
        store,
        item,
        "P159",
        [
            Statement(_wd(f"Q{60_000 + (place + 1) % len(COUNTRIES)}"), qualifiers=moved[0]),
            Statement(_wd(f"Q{60_000 + place}"), qualifiers=moved[1]),
        ],
    )
    if parents := _parents(world, company):
        for parent, _ in parents:
            _label(store, f"Q{900_000 + parent.index}", parent.name, ("mul",))
        _add_statements(
            store,
            item,
            "P749",
            [Statement(_wd(f"Q{900_000 + p.index}"), qualifiers=q) for p, q in parents],
        )


def name_languages(seed: int, company: Company) -> tuple[str, ...]:
    """The languages of a company's name: English and its own, the default, or only its own."""
    own = _own_language(company)
    choices = (("en", own), ("mul",), (own,))
    return choices[stamp(seed, "label", company.domain) % len(choices)]


def _own_language(company: Company) -> str:
    return _LANGUAGES.get(company.country[1], "en")


def _employees(seed: int, company: Company) -> list[Statement]:
    """Three counts in random order: an old one, the current one, and a deprecated wrong one."""
    newest = _PREFERRED if unit(seed, "preferred", company.domain) < 0.5 else _NORMAL
    old = Statement(_count(company.employees * 3), qualifiers={"P585": _day(2012)})
    now = Statement(_count(company.employees), newest, {"P585": _day(2024)})
    wrong = Statement(_count(company.employees * 9), _DEPRECATED, {"P585": _day(2025)})
    return [old, now, wrong] if stamp(seed, "order", company.domain) % 2 else [wrong, now, old]


def _parents(world: World, company: Company) -> list[tuple[Company, dict[str, Term]]]:
    """The current and the former parent of every sixth mid-size company; else nothing."""
    if company.kind is not Kind.MID or company.index % 6:
        return []
    strong = world.directory.of(Kind.STRONG)
    parent, former = (strong[(company.index + step) % len(strong)] for step in (0, 1))
    return [(former, {"P582": _day(2015)}), (parent, {"P580": _day(2015)})]


def _add_statements(store: Store, item: str, prop: str, statements: Sequence[Statement]) -> None:
    """Add the statements of a property, and the best ones as its direct value."""
    ranks = {statement.rank for statement in statements}
    best = next((rank for rank in (_PREFERRED, _NORMAL) if rank in ranks), None)
    for number, statement in enumerate(statements):
        node = NamedNode(f"{ENTITY}statement/{item}-{prop}-{number}")
        _add(store, _wd(item), "p", prop, node)
        _add(store, node, "wikibase", "rank", _term("wikibase", f"{statement.rank}Rank"))
        if statement.value is not None:
            _add(store, node, "ps", prop, statement.value)
        for name, value in statement.qualifiers.items():
            _add(store, node, "pq", name, value)
        if statement.rank == best:
            _add(store, node, "rdf", "type", _term("wikibase", "BestRank"))
            if statement.value is not None:
                _add(store, _wd(item), "wdt", prop, statement.value)


def _label(store: Store, item: str, text: str, languages: Sequence[str]) -> None:
    for language in languages:
        _add(store, _wd(item), "rdfs", "label", Literal(text, language=language))


def _add(store: Store, subject: NamedNode, prefix: str, name: str, value: Term) -> None:
    store.add(Quad(subject, _term(prefix, name), value))


def _term(prefix: str, name: str) -> NamedNode:
    return NamedNode(PREFIXES[prefix] + name)


def _wd(item: str) -> NamedNode:
    return _term("wd", item)


def _day(year: int) -> Literal:
    return _literal(f"{year}-01-01T00:00:00Z", "dateTime")


def _count(number: int) -> Literal:
    return _literal(f"+{number}", "decimal")


def _literal(text: Any, datatype: str) -> Literal:
    return Literal(text, datatype=_term("xsd", datatype))
