"""Phase 5: the company behind a channel. A video belongs to its channel's owner, not to YouTube.

The owner is, in this order:

1. the first linked domain with a known company,
2. the first linked website that is not a platform,
3. for a channel without a website, the domain that the language model names, if it has a known
   company,
4. nobody: the channel stands for itself.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from serpline.analysis.domains import is_platform, publisher
from serpline.config.run import PipelineConfig
from serpline.domain.names import PhaseName
from serpline.domain.outcomes import Done, NotStored, Outcome, Reject, Retry, Snooze
from serpline.phases import companies
from serpline.phases.base import Work
from serpline.phases.channel_owners import owners
from serpline.phases.companies import DatedProfile
from serpline.phases.tools import Tools
from serpline.store.database import Connection
from serpline.store.results import inputs
from serpline.store.rows import insert_rows
from serpline.store.runs import plans, runs
from serpline.store.runs.chunks import ItemRow, OwnedChunk
from serpline.store.tables.results import channel_owners, company_profiles

CANDIDATES_MAX = 3


class CompanyEnrichmentYouTubePhase:
    """Items are channel ids."""

    name = PhaseName.COMPANY_ENRICHMENT_YOUTUBE
    plan_sql = plans.COMPANY_ENRICHMENT_YOUTUBE
    divisible = True

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def chunk_size(self, config: PipelineConfig) -> int:
        """Return the chunk size of phase 3."""
        return 200

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """Return no further parameters."""
        return {}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Ask the model about channels without a website, look up each domain, then decide."""
        async with work.database.transaction() as conn:
            sources = await runs.source_runs(conn, work.chunk.run_id)
            source = sources[PhaseName.YOUTUBE_ENRICHMENT]
            channels = await inputs.channels(conn, source, [row.item for row in items])
        by_channel = {row.item: _candidates(channels.get(row.item, {})) for row in items}
        unlinked = {
            item: channels[item] for item in by_channel if item in channels and not by_channel[item]
        }
        named: dict[str, str | None] = {}
        for channel_id, answer in (await owners(self._tools, work, unlinked)).items():
            if isinstance(answer, str):
                named[channel_id] = _website(answer)
            else:
                del by_channel[channel_id]
                yield answer
        linked = (domain for candidates in by_channel.values() for domain in candidates)
        domains = list(dict.fromkeys([*linked, *filter(None, named.values())]))
        async with aclosing(companies.profiles(self._tools, work, domains)) as found:
            answers = {domain: answer async for domain, answer in found}
        for channel_id, candidates in by_channel.items():
            yield _owner(channel_id, candidates, named.get(channel_id), answers)

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """Write each channel's owner and the profiles looked up for it."""
        answers = {d: a for outcome in done for d, a in outcome.result["answers"].items()}
        owned = [
            {
                "run_id": chunk.run_id,
                "channel_id": outcome.item,
                "domain": outcome.result["domain"],
                "method": outcome.result["method"],
            }
            for outcome in done
        ]
        await insert_rows(conn, channel_owners, owned)
        rows = [companies.row(chunk.run_id, *answer) for answer in sorted(answers.items())]
        await insert_rows(conn, company_profiles, rows)


def _candidates(channel: Mapping[str, Any]) -> list[str]:
    """The registrable domains that a channel links to, without platforms, in its order."""
    own = [domain for link in channel.get("links") or () if (domain := _website(link))]
    return list(dict.fromkeys(own))[:CANDIDATES_MAX]


def _website(link: str) -> str | None:
    """The domain of a link, unless a platform or a link shortener owns it."""
    domain = publisher(link).domain
    return domain if domain and not is_platform(domain) else None


def _owner(
    channel_id: str,
    candidates: Sequence[str],
    named: str | None,
    answers: Mapping[str, DatedProfile | Outcome],
) -> Outcome:
    """``candidates``: the linked domains; ``named``: the model's domain if there are none."""
    known: dict[str, DatedProfile] = {}
    for domain in candidates or filter(None, [named]):
        answer = answers[domain]
        match answer:
            case Retry() | Snooze() | Reject() | NotStored():
                return replace(answer, item=channel_id)
            case DatedProfile():
                known[domain] = answer
        if domain in known and known[domain].profile:
            method = "company" if candidates else "llm"
            return Done(channel_id, {"domain": domain, "method": method, "answers": known})
    if candidates:
        return Done(channel_id, {"domain": candidates[0], "method": "link", "answers": known})
    return Done(channel_id, {"domain": None, "method": "none", "answers": known})
