"""Two worker processes beside one, on a provider that takes 200 ms for each call.

Each has four calls in flight, so it waits for the provider and not for a processor. A worker makes
the 20 calls a second that this allows, and is idle most of the time. Two workers, PostgreSQL and
the provider fit on two idle cores. With many more calls in flight the cores would be the bound, and
the figure would only show their number.

The rate is that of the calls between the first and the last tenth in the provider's log, which
excludes start and end. One and two workers alternate, three times.
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
