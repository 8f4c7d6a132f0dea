"""PDL's company document. "No match" is believed only when PDL itself says so."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from serpline.domain.companies import Company
from serpline.domain.http import HttpReply
from serpline.domain.replies import (
    as_count,
    as_number,
    as_object,
    as_text,
    json_object,
    malformed,
)
from serpline.providers.pdl.errors import failure

_YEAR_MAX = 9999


def company(reply: HttpReply, *, domain: str, now: Callable[[], datetime]) -> Company | None:
    """The company in ``reply``; None for PDL's own "not found". Raises ``ProviderError``."""
    if reply.status == 404:
        # A proxy or a wrong base URL answers 404 too: that would be a failure stored as data.
        if as_object(json_object(reply, "pdl").get("error")):
            return None
        raise malformed(reply, "pdl", "a 404 without PDL's error document")
    if reply.status != 200:
        raise failure(reply, now())
    body = json_object(reply, "pdl")
    name = as_text(body.get("display_name")) or as_text(body.get("name"))
    if name is None:
        raise malformed(reply, "pdl", "a company without a name")
    return _company(body, name, domain)


def credits_spent(reply: HttpReply) -> float:
    """Credits that ``reply`` cost: as PDL's header says, else one for a match."""
    spent = as_number(reply.headers.get("x-call-credits-spent"))
    if spent is not None and spent >= 0:
        return spent
    return 1.0 if reply.status == 200 else 0.0


def _company(body: Mapping[str, Any], name: str, domain: str) -> Company:
    location = as_object(body.get("location"))
    founded = as_count(body.get("founded"))
    return Company(
        name=name,
        domain=domain,
        source="pdl",
        source_id=as_text(body.get("id")),
        industry=as_text(body.get("industry")) or as_text(body.get("industry_v2")),
        country=as_text(location.get("country")),
        headquarters=as_text(location.get("name")) or as_text(location.get("locality")),
        employee_count=as_count(body.get("employee_count")),
        founded=founded if founded is not None and 0 < founded <= _YEAR_MAX else None,
        linkedin_url=_linkedin(as_text(body.get("linkedin_url"))),
        ticker=as_text(body.get("ticker")),
    )


def _linkedin(value: str | None) -> str | None:
    """PDL leaves the scheme out."""
    if value is None or value.startswith(("https://", "http://")):
        return value
    return f"https://{value}"
