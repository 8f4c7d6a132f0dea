"""People Data Labs: company enrichment by website. A 404 is a regular, free answer."""

from typing import Any

from serpline.simulator.config import SimulatorConfig
from serpline.simulator.journal import Ledger
from serpline.simulator.routes import UNKNOWN, operation_of
from serpline.simulator.seeds import hex_id, unit
from serpline.simulator.wire import (
    Operation,
    Reply,
    Request,
    identity_of,
    json_reply,
    retry_headers,
)
from serpline.simulator.world import World
from serpline.simulator.world.companies import Company, Known

NAME = "pdl"
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "payment_required",
    404: "not_found",
    429: "rate_limit_error",
}
_MESSAGES = {
    401: "Request contained a missing or invalid key",
    402: "You have hit your account maximum for total successful requests.",
    404: "No records were found matching your request",
    429: "An error occurred due to requests hitting the API too quick",
}


class PeopleDataLabs:
    """The simulated API. A match costs one credit."""

    name = NAME

    def __init__(self, config: SimulatorConfig, world: World, ledger: Ledger) -> None:
        self._config = config
        self._world = world
        self._ledger = ledger

    def describe(self, request: Request) -> Operation:
        """Name the call."""
        name = operation_of(NAME, request.method, request.segments)
        params = {k: v for k, v in request.query.items() if k != "api_key"}
        return Operation(name, params, identity_of(name, params))

    async def handle(self, request: Request, operation: Operation) -> Reply:
        """Check the key, find the company, charge for a match."""
        if operation.name == UNKNOWN or request.method != "GET":
            return self._error(404)
        key = request.headers.get("x-api-key") or request.query.get("api_key")
        if key != self._config.key(NAME):
            return self.failure(401)
        website = request.query.get("website", "")
        if not website and "name" not in request.query:
            return self._error(400, "Request must contain at least one of: website, name")
        floor = request.query.get("min_likelihood", "2")
        if not floor.isdecimal():
            return self._error(400, f"min_likelihood must be a number from 1 to 10, not '{floor}'")
        company = self._find(website, request.query.get("name", ""))
        likelihood = 0 if company is None else 6 + int(4 * unit("likelihood", company.domain))
        if company is None or likelihood < int(floor):
            return self._error(404)
        if not self._ledger.charge(NAME, 1, "enrich", company.domain):
            return self.failure(402)
        body = _record(self._config.seed, company, likelihood)
        if request.query.get("titlecase") == "true":
            body = _title_case(body)
        return json_reply(200, body, self._headers(spent=1), billed=1)

    def failure(self, status: int, *, retry_after: object = None, billed: float = 0.0) -> Reply:
        """The vendor's error reply."""
        reply = self._error(status)
        reply.headers.update(retry_headers(retry_after))
        reply.credits = billed
        return reply

    def _find(self, website: str, name: str) -> Company | None:
        if not website:
            found = self._world.directory.by_name.get(name)
        else:
            host = website.lower().split("//", 1)[-1].split("/", 1)[0]
            host = host.removeprefix("www.")
            # The directory knows registrable domains only, no blog. or shop. hosts.
            found = self._world.directory.by_domain.get(host)
        return found if found is not None and found.known is Known.COMMERCIAL else None

    def _headers(self, *, spent: int) -> dict[str, str]:
        limit = self._config.limit(NAME, "enrich")
        calls = limit[1].calls if limit else 1_000
        left = self._ledger.remaining(NAME)
        return {
            "x-call-credits-spent": str(spent),
            "x-call-credits-type": "enrich_company",
            "x-ratelimit-limit": str(calls),
            "x-ratelimit-remaining": str(max(0, calls - 1)),
            "x-ratelimit-reset": "60",
            "x-totallimit-remaining": str(int(min(left, 10**9))),
        }

    def _error(self, status: int, message: str = "") -> Reply:
        error = {
            "type": _TYPES.get(status, "api_error"),
            "message": message or _MESSAGES.get(status, "The server encountered an error"),
        }
        return json_reply(status, {"status": status, "error": error}, self._headers(spent=0))


def _record(seed: int, company: Company, likelihood: int) -> dict[str, Any]:
    country, _, continent, locality, region = company.country
    slug = company.domain.split(".")[0]
    listed = unit(seed, "listed", slug) < 0.15
    return {
        "status": 200,
        "likelihood": likelihood,
        "id": hex_id(28, seed, "pdl", slug).lower(),
        "name": company.name.lower(),
        "display_name": company.name,
        "size": company.size,
        "employee_count": company.employees,
        "founded": company.founded,
        "inferred_revenue": "$10M-$25M" if company.employees < 500 else "$100M-$250M",
        "industry": company.industry,
        "industry_v2": company.industry,
        "naics": [{"naics_code": "561510", "sector": "travel arrangement"}],
        "sic": [{"sic_code": "4724", "industry_group": "travel agencies"}],
        "location": {
            "name": f"{locality}, {region.lower()}, {country}",
            "locality": locality,
            "region": region.lower(),
            "country": country,
            "continent": continent,
        },
        "linkedin_url": f"linkedin.com/company/{slug}",
        "website": company.domain,
        "ticker": slug[:4].upper() if listed else None,
        "type": "public" if listed else "private",
        "summary": f"{company.name.lower()} helps people find what they search for.",
        "tags": ["travel", "search"],
        "alternative_names": [f"{company.name.lower()} ltd"],
        "affiliated_profiles": [],
    }


def _title_case(record: dict[str, Any]) -> dict[str, Any]:
    """Capitalise the words of names, which are in lower case by default."""
    names = {"name", "industry", "industry_v2", "locality", "region", "country", "continent"}
    return {
        key: _title_case(value)
        if isinstance(value, dict)
        else value.title()
        if key in names
        else value
        for key, value in record.items()
    }
