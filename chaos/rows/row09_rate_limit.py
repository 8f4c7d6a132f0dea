"""Row 9: a storm of 429s, each with a Retry-After, and the throughput after it.

Two guards, like those of two processes, with several callers each. In the simulator's log no call
may come within a Retry-After, except calls that came before its 429 left the simulator. Time is
virtual: when all callers wait, for a slot or for a reply, it jumps to the first one's deadline.
"""

import asyncio
import heapq
import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from math import ceil

from harness.figures import Figure, at_least, zero
from harness.guarded import ManualClock

from chaos.scorecard import Context, Row
from chaos.search_client import OPERATION, PROVIDER, SearchClient, policy, search_client
from serpline.domain.errors import CallRefused, ProviderError
from serpline.simulator.config import RateLimit, SimulatorConfig
from serpline.simulator.journal import CallEntry
from serpline.simulator.server import Simulator

CALLERS = 3
RATE_PER_SECOND = 1.0
# No multiple of the gap between two slots, so some callers wait for one when a 429 comes.
LATENCY_SECONDS = 2.6
# Just under ten seconds: slots a second apart must not fail by the rounding of their times.
LIMIT = RateLimit(int(10 * RATE_PER_SECOND), 9.99)
STORM_SECONDS, RETRY_AFTER_SECONDS, RECOVERY_SECONDS = 70.0, 20, 90.0
STORM = {
    "provider": PROVIDER,
    "fault": "429",
    "retry_after": RETRY_AFTER_SECONDS,
    "for_seconds": STORM_SECONDS,
}
# The log rounds to milliseconds.
TICK = timedelta(milliseconds=1)


class SharedClock(ManualClock):
    """A clock that several callers share; time passes when all of them sleep."""

    def __init__(self, callers: int) -> None:
        super().__init__()
        self._callers = callers
        self._numbers = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        """Sleep until every other caller sleeps at least as long."""
        wakes = asyncio.get_running_loop().create_future()
        until = self.elapsed_seconds + max(0.0, seconds)
        heapq.heappush(self._sleepers, (until, next(self._numbers), wakes))
        self._pass()
        await wakes

    def leave(self) -> None:
        """Remove one caller that has ended."""
        self._callers -= 1
        self._pass()

    def _pass(self) -> None:
        if not self._sleepers or len(self._sleepers) < self._callers:
            return
        self.elapsed_seconds = max(self.elapsed_seconds, self._sleepers[0][0])
        while self._sleepers and self._sleepers[0][0] <= self.elapsed_seconds:
            heapq.heappop(self._sleepers)[2].set_result(None)


async def call_until(
    ends_at: datetime, client: SearchClient, clock: SharedClock, name: str
) -> None:
    """Call as fast as the limiter allows."""
    number = 0
    while clock.now() < ends_at:
        number += 1
        try:
            await client.buy(f"{name} {number}")
        except ProviderError:
            continue
        except CallRefused as refused:
            until = refused.until or clock.now() + timedelta(seconds=1)
            await clock.sleep((until - clock.now()).total_seconds())
    clock.leave()


def retry_after_windows(
    calls: Sequence[tuple[datetime, CallEntry]],
) -> Iterator[tuple[datetime, datetime]]:
    """Of each 429: when it left the simulator, and the end of its Retry-After."""
    latency, window = timedelta(seconds=LATENCY_SECONDS), timedelta(seconds=LIMIT.seconds)
    for at, entry in calls:
        if entry.status != 429:
            continue
        wait = float(RETRY_AFTER_SECONDS)
        if entry.fault is None:
            # The simulator's own limit: until the oldest call leaves the window.
            taken = [t for t, e in calls if e.status == 200 and at - window < t <= at]
            wait = max(1, ceil((min(taken) + window - at).total_seconds()))
        yield at + latency, at + latency + timedelta(seconds=wait)


async def campaign(context: Context) -> Sequence[Figure]:
    """Call through the storm and the recovery."""
    measured_seconds = context.sized(30.0, 240.0)
    clock, how = SharedClock(2 * CALLERS), policy(rate_per_second=RATE_PER_SECOND)
    config = SimulatorConfig(
        seed=context.seed,
        clock=clock,
        limits={PROVIDER: LIMIT},
        latency_seconds={PROVIDER: LATENCY_SECONDS},
    )
    async with context.database() as url, Simulator(config) as sim:
        where = sim.environment()
        async with (
            search_client(url, where, how, clock) as one,
            search_client(url, where, how, clock) as two,
        ):
            sim.set_faults([STORM])
            calm_at = clock.now() + timedelta(seconds=STORM_SECONDS + RECOVERY_SECONDS)
            ends_at = calm_at + timedelta(seconds=measured_seconds)
            await asyncio.gather(
                *(
                    call_until(ends_at, client, clock, f"{name} {caller}")
                    for name, client in (("one", one), ("two", two))
                    for caller in range(CALLERS)
                )
            )
        calls = [
            (datetime.fromisoformat(entry.at), entry) for entry in sim.log.of(PROVIDER, OPERATION)
        ]
    stormy = sum(1 for _, entry in calls if entry.fault)
    pauses = list(retry_after_windows(calls))
    early = sum(
        1 for at, _ in calls if any(left + TICK < at < ends - TICK for left, ends in pauses)
    )
    good = sum(1 for at, entry in calls if entry.status == 200 and calm_at <= at < ends_at)
    return [
        at_least("429s in the storm", stormy, 3),
        zero("calls before a Retry-After", early),
        at_least(
            "share of the provider's limit used after the storm",
            good / measured_seconds / RATE_PER_SECOND,
            0.9,
        ),
    ]


ROW = Row(
    9,
    f"429 storm over two guards with {CALLERS} callers each",
    "0 calls before Retry-After; throughput within 10 % of the provider's limit after the storm",
    campaign,
    "429s not reported to the limiter: 71 of them in the storm, 90 calls before a Retry-After. No"
    " second check after the wait for a slot: 1 call before a Retry-After (short forms).",
)
