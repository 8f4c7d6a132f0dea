"""Row 1: workers killed with SIGKILL at seeded instants, ten times a run.

The instants are spread over the run's calls, as an undisturbed run made them, plus a moment of up
to half a second, so that they fall into calls, settlements, claims and plans alike. One worker
lives at a time, so the calls it leaves unrecorded can be counted at its death.
"""

import asyncio
from uuid import UUID

from tests.support.world import MORTAL, until

from chaos.scorecard import Arena, Figure, Row, equal
from chaos.standard_run import (
    PAIRS,
    RUN_SECONDS_MAX,
    Judged,
    Undisturbed,
    opened,
    start,
    undisturbed,
    unrecorded,
)
from serpline.domain.states import ENDED_RUNS

SMALL_PAIRS = 60


async def campaign(arena: Arena) -> list[Figure]:
    """Runs of the standard size, and more of a smaller one, each killed again and again."""
    plan = arena.sized([(12, 1, 3)], [(PAIRS, 4, 10), (SMALL_PAIRS, 16, 10)])
    judged, kills = Judged(), 0
    for pairs, runs, times in plan:
        reference = await undisturbed(arena, pairs)
        for number in range(runs):
            kills += await _disturbed(arena, reference, number, times, judged)
    wanted = sum(runs * times for _, runs, times in plan)
    return [equal("kills", kills, wanted), *judged.figures()]


async def _disturbed(
    arena: Arena, reference: Undisturbed, number: int, times: int, judged: Judged
) -> int:
    """One run; returns how often a living worker was killed in it."""
    chance = arena.random("kills", reference.pairs, number)
    instants = sorted(
        (chance.uniform(0, reference.calls * 0.98), chance.uniform(0, 0.5)) for _ in range(times)
    )
    kills = 0
    open_calls: set[UUID] = set()
    async with opened(arena, f"run-{reference.pairs}-{number}", reference.pairs, **MORTAL) as world:
        run_id = await start(world)
        for calls, seconds in instants:
            worker = await world.start_worker()
            world.prepare_worker()

            async def is_time(calls: float = calls) -> bool:
                over = (await world.get(run_id)).status in ENDED_RUNS
                return over or len(world.sim.log) >= calls

            await until(is_time, f"call {calls:.0f}", seconds=RUN_SECONDS_MAX)
            await asyncio.sleep(seconds)
            kills += worker.process.returncode is None
            await worker.kill()
            open_calls |= await unrecorded(world)
        await world.start_worker()
        await judged.add(world, run_id, reference, open_calls)
    return kills


ROW = Row(
    number=1,
    test=(
        f"20 runs × 10 kill -9 at seeded instants (4 runs of {PAIRS} pairs, the standard size,"
        f" and 16 of {SMALL_PAIRS})"
    ),
    passes=(
        "0 lost items, 0 duplicate rows, final tables equal an undisturbed run's, extra paid calls"
        " ≤ the replies uncommitted at each kill, 0 duplicate batches"
    ),
    campaign=campaign,
    switched_off="",
)
