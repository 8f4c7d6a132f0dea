"""Row 1: workers killed with SIGKILL at seeded instants, ten times a run.

The instants are spread over the calls of an undisturbed run, plus up to half a second, so they hit
calls, settlements, claims and plans alike. A kill counts only if its victim owned a chunk. If a run
ends before all of its kills, a further run makes the missing ones. One worker runs at a time, so
the calls it leaves unrecorded can be counted at its death.
"""

import asyncio
import signal
from functools import partial

from harness.figures import Figure, equal
from harness.waiting import until
from harness.world import QUICK_TAKEOVER

from chaos.purchases import Losses
from chaos.respawning_worker import respawning_worker
from chaos.scorecard import Context, Row
from chaos.standard_run import (
    PAIRS,
    RUN_SECONDS_MAX,
    RunTotals,
    Undisturbed,
    has_ended,
    owners,
    standard_world,
    start,
    two_at_a_time,
    undisturbed,
)

# One worker runs at a time, so a slow one is never declared dead by another.
QUICKER_TAKEOVER = {**QUICK_TAKEOVER, "SERPLINE_WORKER_DEAD_AFTER_SECONDS": "2"}


async def campaign(context: Context) -> list[Figure]:
    """Standard runs, each with several kills."""
    pairs, runs, times = context.sized((4, 1, 3), (PAIRS, 20, 10))
    wanted = runs * times
    reference = await undisturbed(context, pairs)
    totals = RunTotals()
    disturbed = (_disturbed(context, reference, n, times, totals) for n in range(runs))
    kills = sum(await two_at_a_time(disturbed))
    for number in range(runs, 2 * runs):
        if kills < wanted:
            kills += await _disturbed(context, reference, number, wanted - kills, totals)
    return [equal("kills of a worker that owned a chunk", kills, wanted), *totals.figures()]


async def _disturbed(
    context: Context, reference: Undisturbed, number: int, times: int, totals: RunTotals
) -> int:
    """One run; returns how many kills counted."""
    rng = context.random("kills", reference.pairs, number)
    instants = sorted(
        (rng.uniform(0, reference.calls * 0.98), rng.uniform(0, 0.5)) for _ in range(times)
    )
    kills = 0
    losses = Losses()
    name = f"run-{reference.pairs}-{number}"
    async with (
        standard_world(context, name, reference.pairs, None, **QUICKER_TAKEOVER) as world,
        respawning_worker(world) as worker,
    ):
        run_id = await start(world)
        ended = partial(has_ended, world, run_id)

        async def is_owner() -> bool:
            return worker.pid in await owners(world) or await ended()

        for calls, seconds in instants:

            async def is_time(calls: float = calls) -> bool:
                return len(world.sim.log) >= calls or await ended()

            await worker.run_until(is_time, RUN_SECONDS_MAX)
            await asyncio.sleep(seconds)
            await until(is_owner, "a worker to own a chunk", seconds=RUN_SECONDS_MAX)
            counts = not await ended()
            kills += await worker.end(signal.SIGKILL) == -signal.SIGKILL and counts
            await losses.count(world)
        await worker.run_until(ended, RUN_SECONDS_MAX)
        await totals.add(world, run_id, reference, losses)
    return kills


ROW = Row(
    number=1,
    test=(
        "20 runs × 10 kill -9 of a worker that owns a chunk, at seeded instants"
        f" (standard runs of {PAIRS} pairs)"
    ),
    passes=(
        "0 lost items, 0 duplicate rows, final tables equal an undisturbed run's, extra paid calls"
        " ≤ uncommitted replies at the kills, 0 duplicate batches"
    ),
    campaign=campaign,
    switched_off=(
        "No look-up of replies in the ledger: after 8 kills in a run of 60 pairs 133 calls were"
        " paid again, though only 107 replies had died with their workers."
    ),
    covered_by=(
        "tests/faults/test_kill_each_phase.py",
        "tests/faults/test_worker_deaths.py::test_a_storm_of_kills_loses_and_doubles_nothing",
    ),
)
