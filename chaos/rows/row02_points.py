"""Row 2: a process kills itself at each named point, and the next one continues.

First some runs side by side pass from worker to worker, each of which dies at the next point.
Beside them a run depends on webhooks alone, and its web process dies. In the full form every point
also has a run of its own, and its worker dies at a later passing. The campaign checks that every
process died at its point, and counts the calls it left unrecorded.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

from harness.figures import Figure, equal
from harness.points import POINTS, WEB_POINTS
from harness.ports import LOOPBACK, reserved_port

from chaos.purchases import Losses
from chaos.respawning_worker import respawning_worker
from chaos.scorecard import Context, Row
from chaos.standard_run import (
    RUN_SECONDS_MAX,
    RunTotals,
    Undisturbed,
    has_ended,
    paged_simulator,
    standard_world,
    start,
    two_at_a_time,
    undisturbed,
)

PAIRS = 24
CHAINS = 2
# Take over chunks soon, and check soon for lost wake-ups.
_QUICK = {
    "SERPLINE_WORKER_HEARTBEAT_SECONDS": "0.2",
    "SERPLINE_WORKER_DEAD_AFTER_SECONDS": "1.0",
    "SERPLINE_BATCH_CALL_SECONDS": "3",
    "SERPLINE_LOOK_AGAIN_SECONDS": "0.5",
}
Death = tuple[str, int]
"""A point, and the number of its passing."""


async def campaign(context: Context) -> list[Figure]:
    """All points in some runs; in the full form also one run per point."""
    reference = await undisturbed(context, context.sized(4, PAIRS))
    totals, points = RunTotals(), list(POINTS)
    # Every chain takes its points in the order of a run.
    chains = [[(point, 1) for point in points[n::CHAINS]] for n in range(CHAINS)]
    died = sum(
        await asyncio.gather(
            *(_die(context, reference, f"chain-{n}", c, totals) for n, c in enumerate(chains)),
            _die_in_web_process(context, reference, totals),
        )
    )
    wanted = len(POINTS) + len(WEB_POINTS)
    if context.full:
        wanted += len(POINTS)
        # A run passes every point at least three times, once per content type.
        deaths = [(point, context.random(point).randint(2, 3)) for point in POINTS]
        runs = (_die(context, reference, f"{n}", [d], totals) for n, d in enumerate(deaths))
        died += sum(await two_at_a_time(runs))
    return [equal("deaths at their point", died, wanted), *totals.figures()]


async def _die(
    context: Context, reference: Undisturbed, name: str, deaths: Sequence[Death], totals: RunTotals
) -> int:
    """One run through all ``deaths`` of workers; returns how many happened."""
    died = 0
    losses = Losses()
    async with (
        standard_world(context, f"points-{name}", reference.pairs, None, **_QUICK) as world,
        respawning_worker(world) as worker,
    ):
        run_id = await start(world)
        ended = partial(has_ended, world, run_id)
        for death in deaths:
            died += await worker.run_until(ended, RUN_SECONDS_MAX, **_variables(death))
            await losses.count(world)
        await worker.run_until(ended, RUN_SECONDS_MAX)
        await totals.add(world, run_id, reference, losses)
    return died


async def _die_in_web_process(context: Context, reference: Undisturbed, totals: RunTotals) -> int:
    """A run without polling, whose web process dies on its webhooks; as ``_die``."""
    died = 0
    # The sender repeats a webhook, so the next web process gets it.
    config = paged_simulator(reference.pairs, timing={"webhook_backoff_seconds": 0.5})
    async with AsyncExitStack() as stack:
        port = str(stack.enter_context(reserved_port()))
        settings = {
            "SERPLINE_PUBLIC_URL": f"http://{LOOPBACK}:{port}",
            "SERPLINE_BATCH_POLL_SECONDS": str(RUN_SECONDS_MAX),
        }
        world = await stack.enter_async_context(
            standard_world(context, "points-web", reference.pairs, config, **settings)
        )
        worker = await stack.enter_async_context(respawning_worker(world, "web"))
        await world.start_worker()
        run_id = await start(world)
        ended = partial(has_ended, world, run_id)
        for point in WEB_POINTS:
            variables = {**_variables((point, 1)), "CHAOS_WEB_PORT": port}
            died += await worker.run_until(ended, RUN_SECONDS_MAX, **variables)
        await worker.run_until(ended, RUN_SECONDS_MAX, CHAOS_WEB_PORT=port)
        await totals.add(world, run_id, reference)
    return died


def _variables(death: Death) -> dict[str, str]:
    return {"CHAOS_POINT": death[0], "CHAOS_PASSING": str(death[1])}


ROW = Row(
    number=2,
    test=(
        f"kill at every named point, in runs of {PAIRS} pairs: {', '.join([*POINTS, *WEB_POINTS])}"
    ),
    passes="as row 1, at every point",
    campaign=campaign,
    switched_off=(
        "An unacknowledged create repeated without a look-up of the batch's name: one surplus"
        " batch. Searches added again without a comparison: two surplus batches. A start repeated"
        " without a check: two batches started twice (short form)."
    ),
)
