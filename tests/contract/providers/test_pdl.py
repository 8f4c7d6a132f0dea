"""People Data Labs on the wire: the requests, and the meaning of each reply."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serpline.domain.companies import Company
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.providers.pdl.client import PdlClient

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MATCH = (Path(__file__).parent / "documents" / "pdl_company.json").read_bytes()
NOT_FOUND = b'{"status":404,"error":{"type":"not_found","message":"No records were found"}}'
CALL = PdlClient(base_url="http://pdl.example", api_key="pdl-secret", now=lambda: NOW).enrich(
    "northwind.example"
)


def reply(body: Any, status: int = 200, **headers: str) -> HttpReply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status=status, headers=names, body=raw)


def error_of(given: HttpReply) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        CALL.parse(given)
    return caught.value


def test_the_key_travels_in_a_header_and_nowhere_else() -> None:
    """The key is in X-Api-Key and among the secrets, but not in the URL or the identity."""
    request = CALL.request
    assert request.url == "http://pdl.example/v5/company/enrich"
    assert request.params == {
        "website": "northwind.example",
        "min_likelihood": "3",
        "titlecase": "true",
    }
    assert request.headers["X-Api-Key"] == "pdl-secret"
    assert request.secrets == ("pdl-secret",)
    assert "pdl-secret" not in json.dumps([CALL.identity, request.url, dict(request.params)])


def test_a_match_becomes_a_company() -> None:
    """Every field of a match is read; the domain is the requested one."""
    assert CALL.parse(reply(MATCH)) == Company(
        name="Northwind Traders",
        domain="northwind.example",
        source="pdl",
        source_id="aKCIYBNF9ey6o5CjHCCO4goHYKlf",
        industry="travel arrangements",
        country="united states",
        headquarters="seattle, washington, united states",
        employee_count=3120,
        size="1001-5000",
        founded=1998,
        linkedin_url="https://linkedin.com/company/northwind-traders",
        ticker="NWND",
    )


def test_unknown_facts_are_none() -> None:
    """Null or absent facts are None, never 0 or an empty text."""
    found = CALL.parse(
        reply({"status": 200, "name": "acme", "employee_count": None, "ticker": "", "founded": 0})
    )
    assert found == Company(name="acme", domain="northwind.example", source="pdl")


@pytest.mark.parametrize(
    ("facts", "is_match"),
    [
        ({"likelihood": 2}, False),
        ({"likelihood": 3}, True),
        ({"website": "other.example"}, False),
        ({"website": "https://www.northwind.example/en"}, True),
        ({"website": "shop.northwind.example"}, True),
        ({"website": "notnorthwind.example"}, False),
        ({"website": "other.example", "alternative_domains": ["northwind.example"]}, True),
        ({"website": None}, True),
        ({"website": "\u0000//[", "alternative_domains": 7}, False),
    ],
)
def test_an_unlikely_match_or_another_website_is_no_match(
    facts: dict[str, Any], is_match: bool
) -> None:
    """A company counts if PDL is sure enough and the domain is one of its websites."""
    found = CALL.parse(reply({"status": 200, "name": "acme", **facts}))
    assert (found is not None) is is_match


def test_no_match_is_an_answer_that_costs_nothing() -> None:
    """PDL's own 404 is None and not billed."""
    given = reply(NOT_FOUND, 404)
    assert CALL.parse(given) is None
    assert CALL.billed is not None
    assert CALL.billed(given) == 0.0


def test_another_servers_404_is_not_an_answer() -> None:
    """A 404 without PDL's error document (a proxy, a wrong base URL) does not mean "unknown"."""
    assert error_of(reply(b"<html>404 page not found</html>", 404)).category == "malformed"
    assert error_of(reply(b"{}", 404)).category == "malformed"


@pytest.mark.parametrize(
    ("status", "headers", "credits_spent"),
    [
        (200, {"x_call_credits_spent": "1"}, 1.0),
        (200, {"x_call_credits_spent": "0"}, 0.0),
        (200, {"x_call_credits_spent": "2.5"}, 2.5),
        (200, {"x_call_credits_spent": "nonsense"}, 1.0),
        (200, {}, 1.0),
        (429, {}, 0.0),
    ],
)
def test_the_header_states_the_credits(
    status: int, headers: dict[str, str], credits_spent: float
) -> None:
    """x-call-credits-spent decides; without it a match costs one credit."""
    assert CALL.billed is not None
    assert CALL.billed(reply(b"{}", status, **headers)) == credits_spent


@pytest.mark.parametrize(
    ("status", "category", "permanent", "breaker_failure"),
    [
        (400, ErrorCategory.BAD_REQUEST, True, False),
        (401, ErrorCategory.AUTH, True, False),
        (402, ErrorCategory.QUOTA, True, False),
        (403, ErrorCategory.AUTH, True, False),
        (408, ErrorCategory.TIMEOUT, False, True),
        (422, ErrorCategory.BAD_REQUEST, True, False),
        (429, ErrorCategory.RATE_LIMIT, False, False),
        (500, ErrorCategory.SERVER, False, True),
        (503, ErrorCategory.SERVER, False, True),
        (302, ErrorCategory.MALFORMED, False, True),
    ],
)
def test_a_status_decides_the_category(
    status: int, category: ErrorCategory, permanent: bool, breaker_failure: bool
) -> None:
    """Each status has one category; only signs of an unhealthy provider count for the breaker."""
    error = error_of(reply(b'{"error":{"message":"pdl-secret"}}', status))
    assert (error.category, error.permanent, error.breaker_failure) == (
        category,
        permanent,
        breaker_failure,
    )
    assert error.http_status == status
    assert "pdl-secret" not in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "7", "x_ratelimit_reset": "2026-03-01T12:01:00Z"}, 7.0),
        ({"x_ratelimit_reset": "2026-03-01T12:00:42Z"}, 42.0),
        ({"x_ratelimit_reset": "2026-03-01 12:00:42"}, 42.0),
        ({"x_ratelimit_reset": str(int(NOW.timestamp()) + 30)}, 30.0),
        ({"x_ratelimit_reset": "25"}, 25.0),
        ({"x_ratelimit_reset": "2026-03-01T11:59:00Z"}, 0.0),
        ({"x_ratelimit_reset": "soon"}, None),
        ({}, None),
    ],
)
def test_a_rate_limit_states_its_wait(headers: dict[str, str], seconds: float | None) -> None:
    """Retry-After wins; else x-ratelimit-reset, as ISO time, epoch seconds or seconds to wait."""
    assert error_of(reply(b"", 429, **headers)).retry_after_seconds == seconds


@pytest.mark.parametrize("body", [b"", b"nope", b"[]", b'{"status":200}', MATCH[:-40]])
def test_a_match_that_cannot_be_read_is_malformed(body: bytes) -> None:
    """Truncated, empty or nameless documents are failures that may be repeated."""
    error = error_of(reply(body))
    assert (error.category, error.permanent) == (ErrorCategory.MALFORMED, False)
