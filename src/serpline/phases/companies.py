"""The company behind a domain: from People Data Labs, else from Wikidata.

The two company phases share it. One purchase per domain serves all lanes and runs; "unknown" is an
answer and is stored too. An answer's age counts from its purchase. A text that is not a domain name
belongs to no company and is not looked up.

If People Data Labs refuses the key or has no credits left, a company that Wikidata knows is taken
from there. The other domains fail with the first error, because Wikidata knows few companies.

Without People Data Labs, "unknown" is what Wikidata alone says. It is stored as such, and asked for
again once People Data Labs is set up.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from serpline.analysis.company_names import display_name
from serpline.analysis.countries import country_code
from serpline.analysis.industries import industry_of
from serpline.domain.companies import Company, is_domain_name
from serpline.domain.errors import CallRefused, ProviderError
from serpline.domain.outcomes import NotStored, Outcome
from serpline.domain.replies import unreadable
from serpline.phases.base import Work
from serpline.phases.freshness import bought_since
from serpline.phases.tools import (
    Tools,
    as_done,
    claim_missing,
    readable_rows,
    release_claims,
    run_transaction,
    snooze_until_bought,
    to_json,
)
from serpline.providers.wikidata.client import DOMAINS_MAX
from serpline.store import projects
from serpline.store.calls.reference import ClaimResult

KIND = "company"
UNKNOWN_SOURCE = "none"

Profile = dict[str, Any]
"""A company's stored facts; ``{}`` for a domain without a known company."""

_UNKNOWN_TO_ONE: Final[Profile] = {"unasked": "pdl"}
"""Stored for a domain that Wikidata does not know and People Data Labs was not asked about."""


@dataclass(frozen=True, slots=True)
class DatedProfile:
    """The profile of a domain, and when it was bought."""

    profile: Profile
    fetched_at: datetime


async def profiles(
    tools: Tools, work: Work, domains: Sequence[str]
) -> AsyncGenerator[tuple[str, DatedProfile | Outcome], None]:
    """Yield ``(domain, profile or outcome)`` in any order; an outcome's item is the domain."""
    names = [domain for domain in domains if is_domain_name(domain)]
    for text in set(domains).difference(names):
        yield text, DatedProfile({}, work.clock.now())
    claims = await claim_missing(work, KIND, names)
    unasked: list[str] = []
    for domain, payload in claims.fresh.items():
        if payload == _UNKNOWN_TO_ONE and tools.pdl is not None and not work.config.is_replay:
            unasked.append(domain)
        else:
            yield domain, DatedProfile(_known(payload), claims.fetched_at[domain])
    again = ClaimResult({}, [], [], {})
    if unasked:
        # No answer is newer than now, so these are claimed, unless another chunk is buying them.
        again = await claim_missing(work, KIND, unasked, since=work.clock.now())
    for domain, payload in again.fresh.items():
        yield domain, DatedProfile(_known(payload), again.fetched_at[domain])
    for domain in (*claims.in_flight_elsewhere, *again.in_flight_elsewhere):
        yield domain, snooze_until_bought(work, domain)

    async def ask_pdl(domain: str) -> tuple[str, Profile | ProviderError | CallRefused | None]:
        def payloads(company: Company | None) -> dict[str, Profile]:
            return {domain: to_json(company)} if company else {}

        if tools.pdl is None:
            return domain, None
        try:
            call = tools.pdl.enrich(domain)
            bought = await tools.buy(
                work, call, KIND, payloads, freshness="reference", ttl_seconds=_ttl_seconds(work)
            )
        except (ProviderError, CallRefused) as error:
            return domain, error
        return domain, bought.get(domain)

    unknown: list[str] = []
    refused: dict[str, ProviderError] = {}
    unbought: list[str] = []
    to_fetch = [*claims.to_fetch, *again.to_fetch]
    async with aclosing(as_done(ask_pdl, to_fetch, tools.call_concurrency)) as answers:
        async for domain, answer in answers:
            if isinstance(answer, dict):
                yield domain, DatedProfile(answer, work.clock.now())
            elif answer is None:
                unknown.append(domain)
            elif isinstance(answer, ProviderError) and answer.permanent and tools.wikidata:
                refused[domain] = answer
            else:
                unbought.append(domain)
                yield domain, work.retries.outcome_for(domain, answer)
            if len(unknown) >= DOMAINS_MAX:
                async for pair in _ask_wikidata(tools, work, unknown):
                    yield pair
                unknown = []
    await release_claims(work, KIND, unbought)
    async for pair in _ask_wikidata(tools, work, unknown):
        yield pair
    async for pair in _ask_wikidata(tools, work, list(refused), refused):
        yield pair


async def _ask_wikidata(
    tools: Tools,
    work: Work,
    domains: Sequence[str],
    refused: Mapping[str, ProviderError] = MappingProxyType({}),
) -> AsyncGenerator[tuple[str, DatedProfile | Outcome], None]:
    """Ask about domains that People Data Labs does not know, or that it ``refused`` to look up.

    Of a refused domain only a known company is an answer.
    """
    if not domains:
        return
    if tools.wikidata is None:
        # Not stored: Wikidata may be set up later. Its reply costs People Data Labs nothing.
        await release_claims(work, KIND, domains)
        for domain in domains:
            if work.config.is_replay:
                yield domain, NotStored(domain, "wikidata is off")
            else:
                yield domain, DatedProfile({}, work.clock.now())
        return
    unknown = _UNKNOWN_TO_ONE if tools.pdl is None else {}
    languages = await run_transaction(
        work, lambda conn: projects.market_languages(conn, work.chunk.run_id)
    )
    for call in tools.wikidata.companies_by_domains(domains, languages):
        queried: list[str] = call.identity["domains"]

        def payloads(found: Mapping[str, Any], queried: Sequence[str] = queried) -> dict[str, Any]:
            rows = readable_rows(queried, found)
            return {key: row or unknown for key, row in rows.items() if row or key not in refused}

        try:
            answers = await tools.buy(
                work,
                call,
                KIND,
                payloads,
                freshness="reference",
                ttl_seconds=_ttl_seconds(work),
            )
        except (ProviderError, CallRefused) as error:
            await release_claims(work, KIND, queried)
            for domain in queried:
                yield domain, work.retries.outcome_for(domain, refused.get(domain, error))
            continue
        await release_claims(work, KIND, [domain for domain in queried if domain not in answers])
        for domain in queried:
            if domain in answers:
                yield domain, DatedProfile(_known(answers[domain]), work.clock.now())
            else:
                why = refused.get(domain) or unreadable("wikidata", domain)
                yield domain, work.retries.outcome_for(domain, why)


def _known(payload: Profile | None) -> Profile:
    return {} if payload is None or payload == _UNKNOWN_TO_ONE else payload


def _ttl_seconds(work: Work) -> float:
    """Maximum age of a stored reply; with ``force_refresh`` the age of the run."""
    if work.config.force_refresh:
        return max((work.clock.now() - bought_since(work)).total_seconds(), 0.0)
    return work.config.reference_ttl_days * 86_400.0


def row(run_id: UUID, domain: str, answer: DatedProfile) -> dict[str, Any]:
    """Return a row of ``company_profiles``."""
    profile = answer.profile
    return {
        "run_id": run_id,
        "domain": domain,
        "found": bool(profile),
        "name": profile.get("name"),
        "industry": profile.get("industry"),
        "country": profile.get("country"),
        **_standardised(profile),
        "employee_count": profile.get("employee_count"),
        "size": profile.get("size"),
        "founded": profile.get("founded"),
        "linkedin_url": profile.get("linkedin_url"),
        "ticker": profile.get("ticker"),
        "parent": profile.get("parent"),
        "source": profile.get("source") or UNKNOWN_SOURCE,
        "fetched_at": answer.fetched_at,
    }


def _standardised(profile: Profile) -> dict[str, Any]:
    industry = industry_of(profile.get("industry"))
    return {
        "display_name": display_name(profile.get("name")),
        "industry_code": industry and industry.code,
        "industry_name": industry and industry.name,
        "industry_group": industry and industry.group,
        "country_code": country_code(profile.get("country")),
    }
