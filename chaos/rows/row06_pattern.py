"""Row 6: failure, failure, failure, success, repeated: the failure rate must open the breaker.

Consecutive failures never reach the threshold. The rate must open the breaker by its twentieth
call, plus the calls in flight. One caller, then many at once, each round with its own breaker.
"""

import asyncio
from collections.abc import Sequence

from harness.figures import Figure, at_most, equal

from chaos.scorecard import Context, Row
from chaos.search_client import OPERATION, PROVIDER, policy, search_client
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import ProviderError
from serpline.robustness.breakers import BreakerOpen
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.server import Simulator

CALLS_MAX = 200
PATTERN = {"provider": PROVIDER, "fault": "500", "pattern": "FFFS"}


async def campaign(context: Context) -> Sequence[Figure]:
    """Several rounds, each with another number of callers at once."""
    rng = context.random("callers")
    callers = [1, *(rng.randint(1, 40) for _ in range(context.sized(3, 60)))]
    over, opened = [], 0
    async with context.database() as url, Simulator(SimulatorConfig(seed=context.seed)) as sim:
        for number, count in enumerate(callers):
            sim.set_faults([PATTERN])
            before = len(sim.log.of(PROVIDER, OPERATION))
            how = policy(
                breaker=f"round {number}", breaker_settings=BreakerSettings(failure_threshold=10)
            )
            async with search_client(url, sim.environment(), how) as client:
                left = iter(range(CALLS_MAX))

                async def caller(
                    number: int = number, client: object = client, left: object = left
                ) -> None:
                    for call in left:  # type: ignore[attr-defined]
                        try:
                            await client.buy(f"{number} {call}")  # type: ignore[attr-defined]
                        except ProviderError:
                            continue
                        except BreakerOpen:
                            return

                await asyncio.gather(*(caller() for _ in range(count)))
                state = await client.guard.breakers.get_breaker(f"round {number}").state()
            opened += state.breaker.state == "open"
            over.append(len(sim.log.of(PROVIDER, OPERATION)) - before - count)
    return [
        equal("breakers opened", opened, len(callers)),
        at_most("calls made minus those in flight (worst round)", max(over), 20),
    ]


ROW = Row(
    6,
    "pattern failure-failure-failure-success",
    "open by call 20 + in flight",
    campaign,
    "No failure rate in `must_open`: none of 4 breakers opened, and one caller alone made 200"
    " calls.",
)
