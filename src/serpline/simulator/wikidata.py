"""Wikidata's query service: companies by website, as SPARQL JSON results.

It asks for a User-Agent with a contact, and answers a scan (no VALUES list) with its timeout.
"""

import re
from typing import Any

from serpline.simulator.config import SimulatorConfig
from serpline.simulator.routes import UNKNOWN, operation_of
from serpline.simulator.seeds import stamp, unit
from serpline.simulator.sparql import Query, Unparsable, parse
from serpline.simulator.wire import (
    BadBody,
    Operation,
    Reply,
    Request,
    identity_of,
    json_reply,
    retry_headers,
)
from serpline.simulator.world import World
from serpline.simulator.world.companies import COUNTRIES, Company, Kind, Known

NAME = "wikidata"
QUERY_CHARACTERS_MAX = 100_000
_CONTACT = re.compile(r"@|https?://", re.IGNORECASE)
_ENTITY = "http://www.wikidata.org/entity/"
_XSD = "http://www.w3.org/2001/XMLSchema#"
_JSON = "application/sparql-results+json;charset=utf-8"


class Wikidata:
    """The simulated service; free, so the ledger has nothing of it."""

    name = NAME

    def __init__(self, config: SimulatorConfig, world: World) -> None:
        self._config = config
        self._world = world

    def describe(self, request: Request) -> Operation:
        """Name the call; the query itself is its identity."""
        name = operation_of(NAME, request.method, request.segments)
        text = " ".join(_text(request).split())
        return Operation(name, {"query": text[:2_000]}, identity_of(name, {"query": text}))

    async def handle(self, request: Request, operation: Operation) -> Reply:
        """Check the User-Agent, then answer with bindings."""
        if operation.name == UNKNOWN:
            return _plain(404, "Not Found")
        if not _CONTACT.search(request.headers.get("user-agent", "")):
            return _plain(
                403,
                "Too Many Requests. Please comply with the User-Agent policy: "
                "https://foundation.wikimedia.org/wiki/Policy:Wikimedia_Foundation_User-Agent_Policy",
            )
        text = _text(request)
        if len(text) > QUERY_CHARACTERS_MAX:
            return _plain(414, "URI Too Long")
        try:
            query = parse(text)
        except Unparsable as error:
            return _plain(400, f"SPARQL-QUERY: queryStr={text[:200]}\nMalformedQuery: {error}")
        if not query.sites:
            return _plain(500, "SPARQL-QUERY\njava.util.concurrent.TimeoutException")
        if not _wants_json(request):
            return Reply(200, _xml(query), {"content-type": "application/sparql-results+xml"})
        rows = [row for site in query.sites for row in self._rows(query, site)]
        body = {"head": {"vars": list(query.variables)}, "results": {"bindings": rows}}
        return json_reply(200, body, {"content-type": _JSON})

    def failure(self, status: int, *, retry_after: object = None, billed: float = 0.0) -> Reply:
        """Plain text, with Retry-After on a 429."""
        given = 60 if status == 429 and retry_after is None else retry_after
        reply = _plain(status, {429: "Too Many Requests"}.get(status, "Service Unavailable"))
        reply.headers.update(retry_headers(given))
        return reply

    def _rows(self, query: Query, site: str) -> list[dict[str, Any]]:
        host = site.split("//", 1)[-1].strip("/").lower()
        company = self._world.directory.by_domain.get(host.removeprefix("www."))
        if company is None or site != _website(self._world.seed, company):
            return []
        if company.known is Known.NOWHERE:
            return []
        if company.known is Known.COMMERCIAL and unit(self._world.seed, "wd", host) > 0.4:
            return []
        strong = self._world.directory.of(Kind.STRONG)
        owned = company.kind is Kind.MID and company.index % 6 == 0
        parent = strong[company.index % len(strong)] if owned else None
        return [_binding(query, company, site, parent)]


def _website(seed: int, company: Company) -> str:
    """The one form in which the item states its website: this is why variants must be asked."""
    forms = (
        f"https://www.{company.domain}/",
        f"https://www.{company.domain}",
        f"https://{company.domain}/",
        f"https://{company.domain}",
    )
    return forms[stamp(seed, "P856", company.domain) % len(forms)]


def _binding(query: Query, company: Company, site: str, parent: Company | None) -> dict[str, Any]:
    country, code, _, locality, _ = company.country
    number = COUNTRIES.index(company.country)
    things: dict[str, tuple[str, str]] = {
        "item": (f"Q{900_000 + company.index}", company.name),
        "P452": (f"Q{700_000 + stamp(company.industry) % 1_000}", company.industry),
        "P17": (f"Q{30 + number}", country.title()),
        "P159": (f"Q{60_000 + number}", locality.title()),
    }
    if parent is not None:
        things["P749"] = (f"Q{900_000 + parent.index}", parent.name)
    literals = {
        "P1128": {"type": "literal", "datatype": f"{_XSD}decimal", "value": str(company.employees)},
        "P571": {
            "type": "literal",
            "datatype": f"{_XSD}dateTime",
            "value": f"{company.founded}-01-01T00:00:00Z",
        },
        "P856": {"type": "uri", "value": site},
        "site": {"type": "uri", "value": site},
        "P17/P297": {"type": "literal", "value": code},
        "description": {"xml:lang": "en", "type": "literal", "value": f"company in {country}"},
    }
    row: dict[str, Any] = {}
    for name in query.variables:
        meaning = query.meaning.get(name, "")
        if meaning in literals:
            row[name] = literals[meaning]
        elif meaning in things:
            row[name] = {"type": "uri", "value": _ENTITY + things[meaning][0]}
        elif meaning.startswith("label:") and meaning[6:] in things:
            label = things[meaning[6:]][1]
            row[name] = {"xml:lang": "en", "type": "literal", "value": label}
    return row


def _text(request: Request) -> str:
    if "query" in request.query:
        return request.query["query"]
    try:
        return str(request.fields().get("query", ""))
    except BadBody:
        return request.body.decode(errors="replace")


def _wants_json(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    return (
        request.query.get("format") == "json" or "json" in accept or b"format=json" in request.body
    )


def _xml(query: Query) -> bytes:
    names = "".join(f'<variable name="{name}"/>' for name in query.variables)
    return (
        '<?xml version="1.0"?><sparql xmlns="http://www.w3.org/2005/sparql-results#">'
        f"<head>{names}</head><results/></sparql>"
    ).encode()


def _plain(status: int, text: str) -> Reply:
    return Reply(status, text.encode(), {"content-type": "text/plain; charset=utf-8"})
