"""Row 2: a worker dies at each named point, by its own SIGKILL, and the next one goes on.

First one run passes from worker to worker, each of which dies at the next point; in the full form
every point then has a run of its own too, and dies at a later passing. The campaign makes sure that
every worker really died where it should, and counts the calls it left unrecorded.
"""

import signal
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from tests.support.world import Worker, until

from chaos.points import POINTS
from chaos.scorecard import Arena, Figure, Row, equal
from chaos.standard_run import (
    RUN_SECONDS_MAX,
    Judged,
    Undisturbed,
    opened,
    start,
    undisturbed,
    unrecorded,
)
from serpline.domain.states import ENDED_RUNS

_SCRIPT = Path(__file__).parents[1] / "mortal_worker.py"
# The next owner of a chunk has to be somebody soon: there are twenty deaths in a row.
_QUICK = {
    "SERPLINE_WORKER_HEARTBEAT_SECONDS": "0.2",
    "SERPLINE_WORKER_DEAD_AFTER_SECONDS": "1.0",
    "SERPLINE_BATCH_CALL_SECONDS": "3",
}


async def campaign(arena: Arena) -> list[Figure]:
    """All points in one run; in the full form also each in a run of its own."""
    reference = await undisturbed(arena, arena.sized(6, 24))
    judged, deaths, wanted = Judged(), 0, len(POINTS)
    deaths += await _die(arena, reference, "chain", [(point, 1) for point in POINTS], judged)
    if arena.full:
        wanted += len(POINTS)
        for number, point in enumerate(POINTS):
            # Every point is passed three times at least, once for each content type.
            passing = arena.random(point).randint(2, 3)
            deaths += await _die(arena, reference, f"{number}", [(point, passing)], judged)
    return [equal("deaths at their point", deaths, wanted), *judged.figures()]


async def _die(
    arena: Arena,
    reference: Undisturbed,
    name: str,
    deaths: Sequence[tuple[str, int]],
    judged: Judged,
) -> int:
    """One run through all ``deaths`` (point and passing); returns how many came about."""
    died = 0
    open_calls: set[UUID] = set()
    async with opened(arena, f"points-{name}", reference.pairs, **_QUICK) as world:
        run_id = await start(world)
        for number, death in enumerate(deaths):
            worker = await world.start_worker(_SCRIPT, **_told(death))
            if number + 1 < len(deaths):
                world.prepare_worker(_SCRIPT, **_told(deaths[number + 1]))
            else:
                world.prepare_worker()

            async def is_over(worker: Worker = worker) -> bool:
                over = (await world.get(run_id)).status in ENDED_RUNS
                return over or worker.process.returncode is not None

            await until(is_over, f"the death {death}", seconds=RUN_SECONDS_MAX)
            died += worker.process.returncode == -signal.SIGKILL
            open_calls |= await unrecorded(world)
        await world.start_worker()
        await judged.add(world, run_id, reference, open_calls)
    return died


def _told(death: tuple[str, int]) -> dict[str, str]:
    return {"CHAOS_POINT": death[0], "CHAOS_PASSING": str(death[1])}


ROW = Row(
    number=2,
    test=f"kill at every named point: {', '.join(POINTS)}",
    passes="as row 1, at every point",
    campaign=campaign,
    switched_off="",
)
