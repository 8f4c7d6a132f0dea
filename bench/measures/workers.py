"""Two worker processes beside one, on a provider that takes 200 ms for each call.

Each has four calls under way, so that they wait for the provider and not for a processor: a worker
that makes the 20 calls a second which that allows is idle for most of its time, and two of them,
PostgreSQL and the provider fit on two cores that do nothing else. With many more calls under way
the cores would be the bound, and the figure would say how many there are.

The rate is that of the calls between the first and the last tenth, by the provider's own log, so
that starting and running out do not count. One and two take turns, three times.
"""

import statistics
from collections.abc import Sequence

from harness.figures import Figure, at_least

from bench.place import Place
from bench.provider_calls import make_calls

TITLE = "two workers beside one"
CALLS, ROUNDS = 400, 3
LATENCY_SECONDS = 0.2


async def measure(place: Place) -> Sequence[Figure]:
    """The ratio of the medians."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for workers, found in rates.items():
            calls = await make_calls(
                place,
                workers=workers,
                calls=place.sized(CALLS) * workers,
                latency_seconds=LATENCY_SECONDS,
                rate_per_second=1_000.0,
                chunks_at_once=2,
                calls_at_once=2,
            )
            found.append(calls.per_second)
    one, two = (statistics.median(rates[workers]) for workers in (1, 2))
    place.notes.append(f"{one:,.1f} calls/s with one worker, {two:,.1f} with two")
    return [at_least("times one worker's calls per second", two / one, 1.9)]
