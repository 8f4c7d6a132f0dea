"""Parses PDL's company document. "Not found" counts only with PDL's own error document."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import idna

from serpline.domain.companies import Company
from serpline.domain.http import HttpReply
from serpline.domain.replies import (
    as_count,
    as_list,
    as_number,
    as_object,
    as_text,
    json_object,
    malformed,
)
from serpline.providers.pdl.errors import failure

_YEAR_MAX = 9999


def company(
    reply: HttpReply, *, domain: str, likelihood_min: int, now: Callable[[], datetime]
) -> Company | None:
    """The company in ``reply``, or None. Raises ``ProviderError``.

    None for PDL's own "not found", an unlikely match, or one whose websites have other domains.
    """
    if reply.status == 404:
        # A proxy or a wrong base URL sends 404 too: as "not found" it would be stored as data.
        if as_object(json_object(reply, "pdl").get("error")):
            return None
        raise malformed(reply, "pdl", "a 404 without PDL's error document")
    if reply.status != 200:
        raise failure(reply, now())
    body = json_object(reply, "pdl")
    name = as_text(body.get("display_name")) or as_text(body.get("name"))
    if name is None:
        raise malformed(reply, "pdl", "a company without a name")
    likelihood = as_number(body.get("likelihood"))
    if likelihood is not None and likelihood < likelihood_min:
        return None
    return _company(body, name, domain) if _has_website(body, domain) else None


def credits_spent(reply: HttpReply) -> float:
    """The credits of ``reply``: PDL's header, else one for a match."""
    spent = as_number(reply.headers.get("x-call-credits-spent"))
    if spent is not None and spent >= 0:
        return spent
    return 1.0 if reply.status == 200 else 0.0


def _has_website(body: Mapping[str, Any], domain: str) -> bool:
    """Whether the company has ``domain`` as a website, or states no website."""
    website = as_text(body.get("website"))
    if website is None:
        return True
    others = map(as_text, as_list(body.get("alternative_domains")))
    hosts = {_host(site) for site in (website, *others) if site}
    return any(host == domain or host.endswith(f".{domain}") for host in hosts)


def _host(site: str) -> str:
    """The host of a website, in ASCII if IDNA can encode it."""
    host = site.strip().lower().partition("://")[2] or site.strip().lower()
    bare = re.split(r"[/?#:]", host, maxsplit=1)[0].rstrip(".").removeprefix("www.")
    try:
        return idna.encode(bare, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return bare


def _company(body: Mapping[str, Any], name: str, domain: str) -> Company:
    location = as_object(body.get("location"))
    founded = as_count(body.get("founded"))
    return Company(
        name=name,
        domain=domain,
        source="pdl",
        source_id=as_text(body.get("id")),
        industry=as_text(body.get("industry_v2")) or as_text(body.get("industry")),
        country=as_text(location.get("country")),
        headquarters=as_text(location.get("name")) or as_text(location.get("locality")),
        employee_count=as_count(body.get("employee_count")),
        size=as_text(body.get("size")),
        founded=founded if founded is not None and 0 < founded <= _YEAR_MAX else None,
        linkedin_url=_linkedin(as_text(body.get("linkedin_url"))),
        ticker=as_text(body.get("ticker")),
    )


def _linkedin(value: str | None) -> str | None:
    """Add the scheme, which PDL leaves out."""
    if value is None or value.startswith(("https://", "http://")):
        return value
    return f"https://{value}"
