"""Row 20: two runs over the same keywords, side by side, with two workers between them.

They start together, so that they need the same companies, videos and pages at the same time. An
undisturbed run gives the expected tables of each and the expected purchases: each run buys its
searches, everything else is bought once for both.
"""

import asyncio
from collections import Counter
from datetime import datetime

from harness.figures import Figure, equal, zero
from harness.tables import differences, final_tables

from chaos.purchases import STARTED, Purchase, count_purchases
from chaos.scorecard import Context, Row
from chaos.standard_run import (
    PAIRS,
    RUN_SECONDS_MAX,
    Undisturbed,
    standard_world,
    start,
    undisturbed,
)
from serpline.domain.states import RunStatus

RUNS = 2
WORKERS = 2
_SHARED_PURCHASES = (("companies looked up", "pdl"), ("texts analysed", "llm"))


async def campaign(context: Context) -> list[Figure]:
    """One pair of runs, checked by the simulator's log and by the tables."""
    reference = await undisturbed(context, context.sized(4, PAIRS))
    async with standard_world(context, "pair", reference.pairs) as world:
        for _ in range(WORKERS):
            await world.start_worker()
        run_ids = await asyncio.gather(*(start(world) for _ in range(RUNS)))
        runs = [await world.wait_for_end(run_id, seconds=RUN_SECONDS_MAX) for run_id in run_ids]
        tables = [await final_tables(world.services.database, run_id) for run_id in run_ids]
        bought = count_purchases(world.sim.log.entries)
        batches = world.sim.scaleserp.account.created
        spans = await world.query(
            "SELECT started_at, completed_at FROM pipeline_executions ORDER BY started_at"
        )
    return [
        zero("runs not completed", sum(run.status is not RunStatus.COMPLETED for run in runs)),
        zero("runs without an overlap in time", not _overlap(spans)),
        zero("rows differing", sum(len(differences(reference.tables, each)) for each in tables)),
        equal("batches", batches, RUNS * reference.batches),
        *_purchase_figures(reference, bought),
    ]


def _purchase_figures(reference: Undisturbed, bought: Counter[Purchase]) -> list[Figure]:
    """The purchases of both runs beside those of one: starts of batches twice, all else once."""
    once = Counter(reference.purchases)
    searched, once[STARTED] = bought[STARTED], 0
    both = Counter(bought)
    both[STARTED] = 0
    return [
        equal("batches paid", searched, RUNS * reference.purchases[STARTED]),
        *(equal(name, _of(both, p), _of(once, p)) for name, p in _SHARED_PURCHASES),
        zero(
            "purchases of the pair only, or of one run only", len((+both).keys() ^ (+once).keys())
        ),
        zero("purchases repeated", sum(times - 1 for times in (+both).values())),
    ]


def _of(bought: Counter[Purchase], provider: str) -> int:
    return sum(times for (kind, _), times in bought.items() if kind == provider)


def _overlap(spans: list[dict[str, datetime]]) -> bool:
    first, second = spans
    return second["started_at"] < first["completed_at"]


ROW = Row(
    number=20,
    test=f"two runs side by side over the same keywords ({PAIRS} pairs, two workers)",
    passes=(
        "neither sees the other's rows; what both need (same domain, same URL within its TTL) is"
        " bought once"
    ),
    campaign=campaign,
    switched_off=(
        "`claim_missing` gave every caller the claim: 148 purchases repeated; 96 companies looked"
        " up instead of 86, 54 texts analysed instead of 30 (short form)."
    ),
    covered_by=(
        "tests/integration/pipeline/test_orchestrator.py::test_two_runs_side_by_side_never_mix",
        "tests/integration/pipeline/test_state_tracker.py::test_two_runs_never_mix",
        "tests/integration/test_guard_limits.py::test_one_of_two_chunks_buys_a_key",
        "tests/integration/test_relevance.py::test_one_of_two_runs_buys",
        "tests/integration/test_call_ends.py"
        "::test_of_two_requests_with_one_shared_key_the_first_is_admitted",
    ),
)
