"""Phase 3: the companies behind ranking domains. ``www`` and the bare domain are the same."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from serpline.config.run import PipelineConfig
from serpline.domain.names import PhaseName
from serpline.domain.outcomes import Done, Outcome
from serpline.phases import companies
from serpline.phases.base import Work
from serpline.phases.tools import Tools
from serpline.store.database import Connection
from serpline.store.rows import insert_rows
from serpline.store.runs import plans
from serpline.store.runs.chunks import ItemRow, OwnedChunk
from serpline.store.tables.results import company_profiles


class CompanyEnrichmentSerpPhase:
    """Items are registrable domains."""

    name = PhaseName.COMPANY_ENRICHMENT_SERP
    plan_sql = plans.COMPANY_ENRICHMENT_SERP
    divisible = True

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def chunk_size(self, config: PipelineConfig) -> int:
        """Return 200: a small chunk repeats little work after a crash."""
        return 200

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """Return no further parameters."""
        return {}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Find or buy a profile for each domain."""
        domains = [row.item for row in items]
        async with aclosing(companies.profiles(self._tools, work, domains)) as answers:
            async for domain, answer in answers:
                yield Done(domain, answer) if isinstance(answer, companies.DatedProfile) else answer

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """Write a row per domain."""
        rows = [companies.row(chunk.run_id, d.item, d.result) for d in done]
        await insert_rows(conn, company_profiles, rows)
