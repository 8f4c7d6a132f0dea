"""Row 5: a provider is down for ten minutes of virtual time.

Items go through the real chunk worker, all chunks at once; whenever nothing is due, time passes by
to where something is. The simulator's clock is the same, so its log says when a call came.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from tests.integration.guard_helpers import rows
from tests.support.heart import TravelClock

from chaos.calling import OPERATION, PROVIDER, policy
from chaos.scorecard import Arena, Figure, Row, at_most, equal, none
from chaos.searching import Searching, searching
from serpline.domain.breaker_settings import BreakerSettings
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.server import Simulator

OUTAGE_SECONDS = 600.0
SETTINGS = BreakerSettings(failure_threshold=10, success_threshold=2, timeout_seconds=300)
AT_ONCE, CHUNKS = 4, 6
RATE_PER_SECOND = 60.0
CALLS_OF_FULL_RATE = 20
NEVER = datetime.max.replace(tzinfo=UTC)
DOWN = {"provider": PROVIDER, "fault": "503", "for_seconds": OUTAGE_SECONDS}


async def until_done(worker: Searching) -> None:
    """Work until every item has ended."""
    while True:
        if await worker.work_on_what_is_due(CHUNKS):
            continue
        query = "SELECT min(next_look_at) FROM chunks WHERE status <> 'done'"
        ((next_look,),) = await rows(worker.made.database, query)
        if next_look is None:
            return
        seconds = (next_look - worker.clock.now()).total_seconds()
        worker.pass_by(max(0.05, seconds))


async def campaign(arena: Arena) -> Sequence[Figure]:
    """All is well, the provider goes down, comes back, and everything is made up for."""
    chunk = arena.sized(50, 500)
    clock = TravelClock()
    how = policy(breaker_settings=SETTINGS, rate_per_second=RATE_PER_SECOND)
    config = SimulatorConfig(seed=arena.seed, clock=clock, latency_seconds={PROVIDER: 0.05})
    async with (
        arena.database() as url,
        Simulator(config) as sim,
    ):
        size = {"chunk_size": chunk, "at_once": AT_ONCE}
        async with searching(url, sim.environment(), how, clock, **size) as worker:
            await worker.start([f"well {n}" for n in range(chunk)])
            await worker.work_on_what_is_due(CHUNKS)
            sim.set_faults([DOWN])
            await worker.start([f"item {n}" for n in range(chunk * CHUNKS)])
            await until_done(worker)
            database = worker.made.database
            ((attempts,),) = await rows(database, "SELECT sum(attempts) FROM items")
            states = await rows(database, "SELECT status, count(*) FROM items GROUP BY 1")
            events = await rows(
                database, "SELECT event_type, occurred_at FROM circuit_breaker_events ORDER BY id"
            )
    log = sim.log.of(PROVIDER, OPERATION)
    failed = [entry for entry in log if entry.fault]
    done = dict(map(tuple, states)).get("completed", 0)
    half_opened = sum(1 for event, _ in events if event == "half_opened")
    closed_at = next((at for event, at in events if event == "closed"), NEVER)
    probes = half_opened * SETTINGS.success_threshold
    good = [datetime.fromisoformat(entry.at) for entry in log if not entry.fault]
    return [
        at_most("calls in the outage", len(failed), 10 + AT_ONCE * CHUNKS + probes),
        none("attempts burned by refused calls", attempts - len(failed)),
        equal("items completed", done, chunk * (CHUNKS + 1)),
        at_most("seconds from closing to full rate", full_rate_after(good, closed_at), 5),
    ]


def full_rate_after(calls: Sequence[datetime], closed_at: datetime) -> float:
    """Seconds until so many calls in a row came at nine tenths of the rate at least."""
    later = [at for at in calls if at >= closed_at]
    span = timedelta(seconds=CALLS_OF_FULL_RATE / RATE_PER_SECOND / 0.9)
    for first, last in zip(later, later[CALLS_OF_FULL_RATE:], strict=False):
        if last - first <= span:
            return (last - closed_at).total_seconds()
    return float("inf")


ROW = Row(
    5,
    "provider down 10 minutes (virtual time), threshold 10, timeout 300 s",
    "calls in the outage ≤ 10 + in flight + probes; no attempt burned; full rate within 5 s of"
    " closing",
    campaign,
    "The breaker never opened (`_must_trip` left out): 300 calls reached the dead provider "
    "where 34 are allowed, and there was no closing to measure from.",
)
