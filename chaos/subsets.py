"""Runs in which some of the providers beside the searches are unset, or fail: row 22.

The five others: volumes, two sources of companies, videos, the language model. Every run is a
world of its own. ``Outcome`` has what an auditor reads of it afterwards: lanes, figures, rankings
and the simulator's call log.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from harness.world import open_world, simulated

from chaos.scorecard import Context
from serpline.domain.names import PhaseName
from serpline.domain.phase_inputs import PHASE_INPUTS

OTHERS = ("dataforseo", "pdl", "wikidata", "youtube", "llm")
SUBSETS = tuple(frozenset(each) for n in range(6) for each in combinations(OTHERS, n))
KEYWORDS = b"keyword,market\nmoka pot,US\nbest espresso machine,US\n"
_UNSET = {
    "dataforseo": {"SERPLINE_DATAFORSEO_LOGIN": "", "SERPLINE_DATAFORSEO_PASSWORD": ""},
    "pdl": {"SERPLINE_PDL_API_KEY": ""},
    "wikidata": {"SERPLINE_WIKIDATA_BASE_URL": ""},
    "youtube": {"SERPLINE_YOUTUBE_API_KEY": ""},
    "llm": {"SERPLINE_LLM_API_KEY": "", "SERPLINE_LLM_BASE_URL": "https://api.openai.com"},
}
_FIGURES = (
    "SELECT content_type, market, device, company, dsi, completeness, coverage, traffic_share,"
    " share_unweighted, relevance FROM dsi_scores WHERE run_id = :run"
)
_RANKINGS = "SELECT count(*) AS n FROM serpline_v1.rankings WHERE run_id = :run"
_NAMES = "SELECT count(*) AS n FROM company_profiles WHERE run_id = :run AND found"
_LANES = (
    "SELECT phase_name, content_type, status, note, error_message FROM pipeline_phase_status"
    " WHERE pipeline_execution_id = :run"
)

Figures = Mapping[tuple[str, ...], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run without ``missing`` ended.

    ``companies``: domains whose company is known. ``calls``: those to each missing provider.
    """

    missing: frozenset[str]
    status: str
    lanes: list[dict[str, Any]]
    figures: Figures
    rankings: int
    companies: int
    calls: Mapping[str, int]

    def lost(self) -> set[PhaseName]:
        """The phases none of whose providers is left."""
        return {
            phase
            for phase, row in PHASE_INPUTS.items()
            if row.providers and self.missing.issuperset(row.providers)
        }


async def run_without(
    context: Context, name: str, missing: Collection[str], fault: str | None = None, **config: Any
) -> Outcome:
    """Run over two keywords. The missing providers are unset or, with a ``fault``, have it."""
    settings: dict[str, str] = {}
    if fault is None:
        for provider in missing:
            settings |= _UNSET[provider]
    async with (
        context.database() as url,
        open_world(url, context.folder(name), KEYWORDS, config=simulated(), **settings) as world,
    ):
        if fault is not None:
            world.sim.set_faults([{"provider": each, "fault": fault} for each in sorted(missing)])
        await world.start_worker()
        run_id = await world.start(analysis_depth=1, **config)
        run = await world.wait_for_end(run_id, seconds=300)
        figures = {
            tuple(row.pop(key) for key in ("content_type", "market", "device", "company")): row
            for row in await world.query(_FIGURES, run=run_id)
        }
        (ranked,) = await world.query(_RANKINGS, run=run_id)
        (named,) = await world.query(_NAMES, run=run_id)
        return Outcome(
            frozenset(missing),
            run.status,
            await world.query(_LANES, run=run_id),
            figures,
            ranked["n"],
            named["n"],
            {each: len(world.sim.log.of(each)) for each in missing},
        )
