"""Row 9: a storm of 429s, each with a Retry-After, and the throughput after it.

Two guards, as two processes have them, call by turns, so nothing is in flight when a 429 comes and
no call may come before its Retry-After. Time is virtual: it passes when the limiter waits.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from tests.integration.guard_helpers import HandClock

from chaos.calling import OPERATION, PROVIDER, calling, policy
from chaos.scorecard import Arena, Figure, Row, at_least, none
from serpline.domain.errors import CallRefused, ProviderError
from serpline.simulator.config import RateLimit, SimulatorConfig
from serpline.simulator.server import Simulator

RATE_PER_SECOND = 1.0
STORM_SECONDS, RETRY_AFTER_SECONDS, RECOVERY_SECONDS = 70.0, 20, 90.0
STORM = {
    "provider": PROVIDER,
    "fault": "429",
    "retry_after": RETRY_AFTER_SECONDS,
    "for_seconds": STORM_SECONDS,
}


async def campaign(arena: Arena) -> Sequence[Figure]:
    """Call as fast as the limiter lets one, through the storm and on."""
    measured_seconds = arena.sized(30.0, 240.0)
    clock, how = HandClock(), policy(rate_per_second=RATE_PER_SECOND)
    limit = RateLimit(int(10 * RATE_PER_SECOND), 10.0)
    config = SimulatorConfig(seed=arena.seed, clock=clock, limits={PROVIDER: limit})
    async with arena.database() as url, Simulator(config) as sim:
        where = sim.environment()
        async with calling(url, where, how, clock) as one, calling(url, where, how, clock) as two:
            sim.set_faults([STORM])
            calm_at = clock.now() + timedelta(seconds=STORM_SECONDS + RECOVERY_SECONDS)
            ends_at = calm_at + timedelta(seconds=measured_seconds)
            number = 0
            while clock.now() < ends_at:
                number += 1
                try:
                    await (one, two)[number % 2].ask(f"search {number}")
                except ProviderError:
                    continue
                except CallRefused as refused:
                    until = refused.until or clock.now() + timedelta(seconds=1)
                    await clock.sleep((until - clock.now()).total_seconds())
        calls = [
            (datetime.fromisoformat(entry.at), entry) for entry in sim.log.of(PROVIDER, OPERATION)
        ]
    # The simulator's own limit answers 429 as well, with a Retry-After of its own.
    stormy = [at for at, entry in calls if entry.fault]
    wait = timedelta(seconds=RETRY_AFTER_SECONDS)
    early = sum(1 for at, _ in calls for told in stormy if told < at < told + wait)
    good = sum(1 for at, entry in calls if entry.status == 200 and calm_at <= at < ends_at)
    return [
        at_least("429s in the storm", len(stormy), 3),
        none("calls before Retry-After", early),
        at_least(
            "share of the provider's limit used afterwards",
            good / measured_seconds / RATE_PER_SECOND,
            0.9,
        ),
    ]


ROW = Row(
    9,
    "429 storm",
    "0 calls before Retry-After; throughput within 10 % of the provider's limit afterwards",
    campaign,
    "429s no longer told to the limiter: 71 of them in the storm, and 1,350 pairs of a call and a"
    " Retry-After that it came before.",
)
