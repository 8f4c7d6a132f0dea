"""Row 3: of three workers one is killed, then one is frozen and thawed. Both are taken over.

Two parts run at once: scripted phases, whose tables record every attempt and every result, and the
seven phases against the simulator, whose log records every paid call. The frozen worker thaws after
the run's end, so any later work is its own.

The limit: a worker that freezes in the microseconds between its last lease check and the system
call that writes sends that piece of a request when it thaws.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from harness.figures import Figure, at_most, equal, zero
from harness.forks import Fork
from harness.scripted import open_gate
from harness.scripted_workers import scripted_workers
from harness.waiting import until
from harness.world import World, open_world
from sqlalchemy.engine import make_url

from chaos.purchases import paid_again, unrecorded_calls
from chaos.scorecard import Context, Row
from serpline.domain.states import ENDED_LANES, RunStatus
from serpline.store.database import Database

FROZEN_SECONDS = 120.0
TAKEN_OVER_SECONDS_MAX = 45.0
WAIT_SECONDS = 100.0
RUNS = 6
# In the order of their keys: items done before the gate, the gate, items after it.
ITEMS = [*(f"DONE-{n:02}" for n in range(20)), "GATE", *(f"RETRY0-{n:02}" for n in range(20))]
KEYWORDS = (
    b"keyword,market\nbest espresso machine,PL\ncoffee grinder,US\ndecaf beans,PL\nmoka pot,US\n"
)
# The frozen worker's reply never comes.
NEVER: dict[str, Any] = {"fault": "slow", "seconds": 600.0, "attempts": 1, "times": 1}
WITHHELD = [
    {"provider": "pdl", "operation": "enrich", **NEVER},
    {"provider": "llm", "operation": "chat", **NEVER},
]
_OWNERS = "SELECT owner FROM chunks WHERE status = 'owned'"
_CALLER = (
    "SELECT w.pid FROM provider_calls p JOIN chunks c ON c.id = p.chunk_id AND c.epoch = p.epoch"
    " JOIN workers w ON w.id = c.owner WHERE p.provider = :provider AND p.status = 'intent'"
)


def settings(context: Context) -> dict[str, str]:
    """The defaults in the full form; in the short form a worker is declared dead sooner."""
    values = {"HEARTBEAT_SECONDS": ("0.5", "5"), "DEAD_AFTER_SECONDS": ("6", "20")}
    return {f"SERPLINE_WORKER_{name}": context.sized(*pair) for name, pair in values.items()}


def with_short_timeout(context: Context, url: str) -> str:
    """The workers' URL; in the short form the server ends an idle transaction sooner.

    This process keeps the usual limit: it stops for seconds while the first fork loads its modules.
    """
    options = "-c idle_in_transaction_session_timeout=2s"
    short = make_url(url).update_query_dict({"options": options})
    return url if context.full else short.render_as_string(hide_password=False)


class TakeOvers:
    """Seconds until the work of each killed or frozen worker was taken over."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def measure(self, condition: Callable[[], Awaitable[Any]], what: str) -> None:
        """Measure from now until ``condition`` holds."""
        struck_at = time.monotonic()
        await until(condition, what, seconds=WAIT_SECONDS)
        self.seconds.append(time.monotonic() - struck_at)


async def scripted_part(context: Context, take_overs: TakeOvers) -> list[Figure]:
    """The scripted part: count duplicate results, and attempts after the thaw."""
    async with context.database() as url:
        database = await Database.connect(url)
        short = with_short_timeout(context, url)
        try:
            folder = context.folder("scripted")
            async with scripted_workers(database, short, folder, **settings(context)) as workers:
                harness = workers.harness
                started = [await workers.run(*ITEMS) for _ in range(RUNS)]
                processes = await asyncio.gather(*[workers.start() for _ in range(3)])

                async def all_at_the_gate() -> bool:
                    return await harness.attempts("GATE") == RUNS

                await until(all_at_the_gate, "every chunk to be at its gate")
                owners = await harness.column(
                    "SELECT pid FROM workers WHERE id IN (" + _OWNERS + ")"
                )
                killed, frozen = [p for p in processes if p.pid in owners][:2]
                for victim, number in ((killed, signal.SIGKILL), (frozen, signal.SIGSTOP)):
                    held = await harness.column(
                        "SELECT id FROM chunks WHERE owner IN"
                        " (SELECT id FROM workers WHERE pid = :pid)",
                        pid=victim.pid,
                    )
                    victim.send_signal(number)
                    if victim is frozen:
                        await until(_is_stopped(victim.pid), "the victim to stop")
                        # When it thaws, its gate is open and it is done with the item.
                        await open_gate(database)

                    # Finished, not only begun, so that the next victim waits at its gate.
                    async def finished(held: list[int] = held) -> bool:
                        return not await harness.column(
                            "SELECT 1 FROM chunks WHERE id = ANY(:ids) AND status <> 'done'",
                            ids=held,
                        )

                    await take_overs.measure(finished, f"the work of {number.name}'s victim")
                for run_id in started:
                    await workers.wait_for_end(run_id, WAIT_SECONDS)
                await asyncio.sleep(context.sized(0.0, FROZEN_SECONDS - take_overs.seconds[-1]))
                attempts = await harness.one("SELECT count(*) FROM scripted_attempts")
                frozen.send_signal(signal.SIGCONT)
                async with asyncio.timeout(WAIT_SECONDS):
                    await frozen.wait()
                results = await harness.one("SELECT count(*) FROM scripted_results")
                distinct = await harness.one(
                    "SELECT count(*) FROM (SELECT DISTINCT lane_id, item FROM scripted_results) d"
                )
                begun = await harness.one("SELECT count(*) FROM scripted_attempts") - attempts
        finally:
            await database.close()
    return [
        equal("items with a result", distinct, RUNS * len(ITEMS)),
        zero("results written twice", results - distinct),
        zero("attempts begun after the thaw", begun),
    ]


def _is_stopped(pid: int) -> Callable[[], Awaitable[bool]]:
    async def is_stopped() -> bool:
        return " T " in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")

    return is_stopped


async def simulated_part(context: Context, take_overs: TakeOvers) -> list[Figure]:
    """The part with the simulator: count calls paid twice, and calls after the thaw."""
    async with context.database() as url:
        folder = context.folder("simulated")
        environment = {
            **settings(context),
            "SERPLINE_DATABASE_URL": with_short_timeout(context, url),
        }
        async with open_world(url, folder, KEYWORDS, config=None, **environment) as world:
            world.sim.set_faults(WITHHELD)
            for _ in range(3):
                await world.start_worker()
            run_id = await world.start(analysis_depth=2)
            killed = await _caller(world, "pdl", "enrich")
            killed.send_signal(signal.SIGKILL)
            await take_overs.measure(
                _is_taken_over(world, killed), "the take-over of the killed worker"
            )
            frozen = await _caller(world, "llm", "chat")
            frozen.send_signal(signal.SIGSTOP)
            struck_at = time.monotonic()
            await take_overs.measure(
                _is_taken_over(world, frozen), "the take-over of the frozen worker"
            )
            run = await world.wait_for_end(run_id, seconds=WAIT_SECONDS)
            again = paid_again(world.sim.log.entries)
            lost = await unrecorded_calls(world)
            passed = time.monotonic() - struck_at
            await asyncio.sleep(context.sized(0.0, max(FROZEN_SECONDS - passed, 0)))
            calls = len(world.sim.log.entries)
            frozen.send_signal(signal.SIGCONT)
            async with asyncio.timeout(WAIT_SECONDS):
                await frozen.wait()
            lanes = await world.lanes(run_id)
            return [
                zero("runs not completed", run.status is not RunStatus.COMPLETED),
                zero("lanes not ended", sum(lane.status not in ENDED_LANES for lane in lanes)),
                at_most("calls paid again", again.total(), lost.total()),
                zero("calls paid again without a lost reply", (again - lost).total()),
                zero("calls made after the thaw", len(world.sim.log.entries) - calls),
            ]


async def _caller(world: World, provider: str, operation: str) -> Fork:
    """A worker that waits for a withheld reply of the provider."""

    async def found() -> list[dict[str, Any]]:
        rows = await world.query(_CALLER, provider=provider)
        return rows if world.withheld(provider, operation) else []

    pids = {row["pid"] for row in await until(found, f"a call of {provider}", seconds=WAIT_SECONDS)}
    return next(worker for worker in world.pool.processes if worker.pid in pids)


def _is_taken_over(world: World, worker: Fork) -> Callable[[], Awaitable[Any]]:
    sql = (
        "SELECT 1 FROM workers w WHERE pid = :pid AND ended_at IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM chunks c WHERE c.owner = w.id)"
    )
    return lambda: world.query(sql, pid=worker.pid)


async def campaign(context: Context) -> Sequence[Figure]:
    """Both parts side by side, so that both workers are frozen at once."""
    take_overs = TakeOvers()
    parts = await asyncio.gather(
        scripted_part(context, take_overs), simulated_part(context, take_overs)
    )
    slowest = at_most("seconds to take-over", max(take_overs.seconds), TAKEN_OVER_SECONDS_MAX)
    return [slowest, *parts[0], *parts[1]]


ROW = Row(
    3,
    "3 worker processes: one killed, then one frozen 120 s and thawed",
    "taken over within 45 s; the thawed worker does nothing twice",
    campaign,
    "No server limit on a silent session: the frozen worker was never taken over. No end of the"
    " lease by the monotonic clock: it began 45 attempts after the thaw. No lease check before the"
    " first byte, and a pause of seconds between a call's admission and its bytes: it made 6 calls"
    " after the thaw; with the check, none (short form).",
    covered_by=(
        "tests/faults/test_worker_deaths.py::test_a_killed_workers_chunk_is_finished_by_another",
        "tests/faults/test_worker_deaths.py::test_a_frozen_worker_settles_nothing_when_it_thaws",
        "tests/faults/test_kill_each_phase.py",
        "tests/integration/pipeline/test_lifeline.py::test_a_silent_sessions_lock_is_freed",
        "tests/integration/pipeline/test_lifeline.py::test_a_lease_ends_before_others_take_over",
        "tests/integration/test_guard.py::test_a_lost_lease_sends_nothing",
        "tests/integration/test_guard.py::test_a_lease_that_ends_at_the_last_instant_costs_nothing",
        "tests/integration/test_called_off.py",
    ),
)
