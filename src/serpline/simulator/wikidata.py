"""Wikidata's query service: any SPARQL query, over the items of the websites it names.

The User-Agent must contain a contact. A query without a website gets a timeout: it would search all
items, which the real service does not finish in time.
"""

import json
import re

from pyoxigraph import QueryResultsFormat, QuerySolutions

from serpline.simulator.config import SimulatorConfig
from serpline.simulator.routes import UNKNOWN, operation_of
from serpline.simulator.wikidata_items import PREFIXES, graph_of
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

NAME = "wikidata"
QUERY_CHARACTERS_MAX = 100_000
_CONTACT = re.compile(r"@|https?://", re.IGNORECASE)
_SITE = re.compile(r"<(https?://[^<>\s]+)>")
_JSON = "application/sparql-results+json;charset=utf-8"


class Wikidata:
    """The simulated service. It is free, so the ledger has no entries."""

    name = NAME

    def __init__(self, config: SimulatorConfig, world: World) -> None:
        self._config = config
        self._world = world

    def describe(self, request: Request) -> Operation:
        """Name the call. Its identity is the query."""
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
        sites = _SITE.findall(text)
        if not sites:
            return _plain(500, "SPARQL-QUERY\njava.util.concurrent.TimeoutException")
        try:
            found = graph_of(self._world, sites).query(text, prefixes=PREFIXES)
        except SyntaxError as error:
            return _plain(400, f"SPARQL-QUERY: queryStr={text[:200]}\nMalformedQuery: {error}")
        if not isinstance(found, QuerySolutions):
            return _plain(400, "MalformedQuery: expected: SELECT")
        if not _wants_json(request):
            xml = found.serialize(format=QueryResultsFormat.XML)
            return Reply(200, xml or b"", {"content-type": "application/sparql-results+xml"})
        table = found.serialize(format=QueryResultsFormat.JSON)
        return json_reply(200, json.loads(table or b""), {"content-type": _JSON})

    def failure(self, status: int, *, retry_after: object = None, billed: float = 0.0) -> Reply:
        """Errors in plain text, with Retry-After on a 429."""
        given = 60 if status == 429 and retry_after is None else retry_after
        reply = _plain(status, {429: "Too Many Requests"}.get(status, "Service Unavailable"))
        reply.headers.update(retry_headers(given))
        return reply


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


def _plain(status: int, text: str) -> Reply:
    return Reply(status, text.encode(), {"content-type": "text/plain; charset=utf-8"})
