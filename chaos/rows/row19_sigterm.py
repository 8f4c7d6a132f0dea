"""Row 19: SIGTERM at seeded instants of a run. Workers exit in time, and nothing is lost.

In one run the first SIGTERM comes during a call whose reply never comes: the call is cut at the end
of the grace, and may be paid again. In another run the reply comes within the grace: the worker
waits for it and keeps it.
"""

import asyncio
import signal
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from harness.figures import Figure, at_most, equal, zero
from harness.world import World

from chaos.purchases import Losses
from chaos.respawning_worker import respawning_worker
from chaos.scorecard import Context, Row
from chaos.standard_run import (
    RUN_SECONDS_MAX,
    RunTotals,
    Undisturbed,
    attempts,
    has_ended,
    standard_world,
    start,
    two_at_a_time,
    undisturbed,
)

PAIRS = 60
EXIT_SECONDS_MAX = 30.0
WITHHELD = ("pdl", "enrich")


@dataclass(slots=True)
class Exits:
    """Sums over exits. ``surplus_attempts``: failed attempts beyond an undisturbed run's."""

    seconds: list[float] = field(default_factory=list)
    not_zero: int = 0
    left_open: int = 0
    surplus_attempts: int = 0
    crashed_chunks: int = 0


async def campaign(context: Context) -> list[Figure]:
    """Runs that pass from worker to worker."""
    pairs, runs, times = context.sized((4, 2, 2), (PAIRS, 5, 10))
    reference = await undisturbed(context, pairs)
    exits, totals = Exits(), RunTotals()
    # A reply that never comes, one within the grace, then no late reply.
    late = context.sized([600.0, 1.0], [600.0, 10.0])
    await two_at_a_time(
        _terminated_run(context, reference, number, times, seconds, exits, totals)
        for number, seconds in enumerate([*late, *[None] * (runs - len(late))])
    )
    return [
        equal("SIGTERMs", len(exits.seconds), runs * times),
        at_most("seconds to the exit", max(exits.seconds), EXIT_SECONDS_MAX),
        zero("exits other than 0", exits.not_zero),
        zero("surplus attempts", exits.surplus_attempts),
        zero("chunks with a death or crash", exits.crashed_chunks),
        zero("calls left without an outcome", exits.left_open),
        # The call whose reply never comes.
        at_most("paid calls cut short", totals.paid_again_max, 1),
        *totals.figures(),
    ]


async def _terminated_run(
    context: Context,
    reference: Undisturbed,
    number: int,
    times: int,
    late_seconds: float | None,
    exits: Exits,
    totals: RunTotals,
) -> None:
    """One run, whose workers get SIGTERM one after the other."""
    rng = context.random("ends", number)
    instants = sorted(
        (rng.uniform(0, reference.calls * 0.95), rng.uniform(0, 0.3)) for _ in range(times)
    )
    grace = {"SERPLINE_SHUTDOWN_GRACE_SECONDS": context.sized("2", "20")}
    losses = Losses()
    async with (
        standard_world(context, f"ends-{number}", reference.pairs, None, **grace) as world,
        respawning_worker(world) as worker,
    ):
        if late_seconds is not None:
            world.sim.set_faults([_withhold(late_seconds)])
        run_id = await start(world)
        ended = partial(has_ended, world, run_id)
        for index, (calls, seconds) in enumerate(instants):
            waits_for_reply = index == 0 and late_seconds is not None

            async def is_time(calls: float = calls, held: bool = waits_for_reply) -> bool:
                far = bool(world.withheld(*WITHHELD)) if held else len(world.sim.log) >= calls
                # A registered worker handles signals.
                return await _is_registered(world) and (far or await ended())

            await worker.run_until(is_time, RUN_SECONDS_MAX)
            await asyncio.sleep(0.0 if waits_for_reply else seconds)
            signalled_at = time.monotonic()
            code = await worker.end(signal.SIGTERM)
            exits.not_zero += code != 0
            exits.seconds.append(time.monotonic() - signalled_at)
            left_open = await world.query(_OPEN)
            exits.left_open += len(left_open)
            await losses.count(world)
        await worker.run_until(ended, RUN_SECONDS_MAX)
        await totals.add(world, run_id, reference, losses)
        made = await attempts(world, run_id)
        exits.surplus_attempts += sum(abs(n - reference.attempts[item]) for item, n in made.items())
        crashed_chunks = await world.query(_CRASHED_CHUNKS)
        exits.crashed_chunks += len(crashed_chunks)


def _withhold(seconds: float) -> dict[str, Any]:
    provider, operation = WITHHELD
    once = {"fault": "slow", "seconds": seconds, "attempts": 1, "times": 1}
    return {"provider": provider, "operation": operation, **once}


async def _is_registered(world: World) -> bool:
    return bool(await world.query("SELECT 1 FROM workers WHERE ended_at IS NULL"))


_OPEN = "SELECT 1 FROM provider_calls WHERE status = 'intent'"
_CRASHED_CHUNKS = "SELECT 1 FROM chunks WHERE deaths > 0 OR crashes > 0"

ROW = Row(
    number=19,
    test=f"SIGTERM × 50 at seeded instants of 5 runs of {PAIRS} pairs",
    passes="exit ≤ 30 s, attempts unchanged",
    campaign=campaign,
    switched_off=(
        "Handlers cancelled at once instead of finishing: 2 paid calls were cut short and paid"
        " again; only the call without a reply may be."
    ),
    covered_by=(
        "tests/faults/test_worker_deaths.py::test_a_worker_told_to_end_gives_its_chunk_back",
        "tests/faults/test_told_to_end.py",
        "tests/integration/test_queueing.py::test_a_stopping_worker_lets_its_handlers_finish",
        "tests/integration/test_queueing.py::test_a_stopping_worker_hands_back_its_work",
        "tests/integration/pipeline/test_worker.py::test_cancelled_work_is_given_back",
        "tests/integration/pipeline/test_worker.py::test_a_commit_outlives_the_cancelled_work",
        "tests/integration/pipeline/test_lifeline.py::test_leaving_gives_chunks_back_at_once",
    ),
)
