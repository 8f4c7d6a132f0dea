"""Row 7: four processes with a hundred callers each at a half-open breaker.

One more process is killed during its probe. Its permit must come back: the others are too few to
close the breaker. A permit is leased for five seconds, so in the simulator's log the last good
probe comes that long after the lost one. The simulator answers slowly, so all allowed probes
overlap.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from harness.figures import Figure, at_least, at_most, equal
from harness.guarded import rows
from harness.ready_process import ReadyProcess
from harness.waiting import until

from chaos.scorecard import Context, Row
from chaos.search_client import (
    BREAKER,
    OPERATION,
    PROVIDER,
    load_process,
    outcome_counts,
    policy,
    search_client,
)
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import ProviderError
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.server import Simulator

PROCESSES, CALLERS = 4, 100
LEASED_SECONDS = 5.0
SETTINGS = BreakerSettings(
    failure_threshold=3, success_threshold=5, timeout_seconds=2, permit_seconds=LEASED_SECONDS
)
# The lease begins just before the call arrives. After its end a caller retries soon.
LEASED_SECONDS_MIN = LEASED_SECONDS - 1
LEASED_SECONDS_MAX = LEASED_SECONDS + 5
HANGS = {"provider": PROVIDER, "fault": "slow", "seconds": 600, "times": 1}


async def campaign(context: Context) -> Sequence[Figure]:
    """Open the breaker, lose a permit, start all callers; several rounds."""
    probes, good, given_again, answered = [], [], [], 0
    rounds = context.sized(1, 3)
    arguments = ["--breaker", json.dumps(asdict(SETTINGS))]
    folder = context.folder("logs")
    for number in range(rounds):
        config = SimulatorConfig(seed=context.seed, latency_seconds={PROVIDER: 0.3})
        async with context.database() as url, Simulator(config) as sim:
            environment = sim.environment()

            async def load(name: str, callers: int) -> ReadyProcess:
                log = folder / f"{number}-{name}.log"  # noqa: B023  used within the round
                return await load_process(
                    url,
                    environment,  # noqa: B023
                    log,
                    ["probe", name, str(callers), *arguments],
                )

            lost = await load("lost", 1)
            others = [await load(f"process {n}", CALLERS) for n in range(PROCESSES)]
            async with search_client(url, environment, policy(breaker_settings=SETTINGS)) as client:
                sim.set_faults([{"provider": PROVIDER, "fault": "500"}])
                for call in range(SETTINGS.failure_threshold):
                    try:
                        await client.buy(f"open {call}")
                    except ProviderError:
                        continue
                sim.set_faults([HANGS])
                before = len(sim.log.of(PROVIDER, OPERATION))
                lost.begin()

                async def is_probing() -> bool:
                    return len(sim.log.of(PROVIDER, OPERATION)) > before  # noqa: B023

                await until(is_probing, "the first probe")
                await lost.kill()
                for process in others:
                    process.begin()
                outcomes = await asyncio.gather(*(outcome_counts(each, 90) for each in others))
                answered += sum(counted["answered"] for counted in outcomes)
                ((closed_at,),) = await rows(
                    client.database,
                    "SELECT occurred_at FROM circuit_breaker_events WHERE event_type = 'closed'"
                    " AND breaker_name = :name",
                    name=BREAKER,
                )
            seen = sim.log.of(PROVIDER, OPERATION)[before:]
            probing = [e for e in seen if datetime.fromisoformat(e.at) <= closed_at]
            probes.append(len(probing))
            came = [datetime.fromisoformat(e.at) for e in probing if e.fault is None]
            good.append(len(came))
            lost_at = datetime.fromisoformat(seen[0].at)
            # Without the lost permit there is one good probe fewer.
            last = came[SETTINGS.success_threshold - 1 :]
            given_again += [(at - lost_at).total_seconds() for at in last]
    return [
        at_most(
            "probes before it closed (worst round)", max(probes), SETTINGS.success_threshold + 1
        ),
        equal("good probes when it closed (most)", max(good), SETTINGS.success_threshold),
        equal("good probes when it closed (fewest)", min(good), SETTINGS.success_threshold),
        equal("lost permits given out again", len(given_again), rounds),
        at_least("seconds after the loss (shortest)", min(given_again), LEASED_SECONDS_MIN),
        at_most("seconds after the loss (longest)", max(given_again), LEASED_SECONDS_MAX),
        equal("callers answered after closing", answered, rounds * PROCESSES * CALLERS),
    ]


ROW = Row(
    7,
    "half-open with 4 processes × 100 callers",
    "probes ≤ permits; a lost permit is reclaimed; closes at exactly `success_threshold`",
    campaign,
    "No bound on half-open permits in `decide`: 15 probes, 6 are allowed, and 14 of them good"
    " before it closed. Permits that never expire: it had not closed after 90 s, and the campaign"
    " timed out (short form).",
    covered_by=(
        "tests/integration/test_guard_breakers.py::test_half_open_probes_never_exceed_the_permits",
        "tests/integration/test_guard_breakers.py::test_a_crashed_probe_is_given_again",
    ),
)
