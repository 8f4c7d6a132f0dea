"""The share of a provider's allowed rate that two workers use, by the provider's log.

The rate is above that of an ordinary account at any of the APIs, and little work for a worker. So
the figure shows how exactly slots are given and used, not how fast the machine is.
"""

from collections.abc import Sequence

from harness.figures import Figure, at_least

from bench.place import Place
from bench.provider_calls import make_calls

TITLE = "a provider limited to 25 calls a second"
RATE_PER_SECOND, CALLS = 25.0, 1_000


async def measure(place: Place) -> Sequence[Figure]:
    """The achieved rate, from the first call to the last."""
    called = await make_calls(
        place,
        workers=2,
        calls=place.sized(CALLS),
        latency_seconds=0.05,
        rate_per_second=RATE_PER_SECOND,
        chunks_at_once=4,
        calls_at_once=16,
    )
    calls = called.began
    achieved = (len(calls) - 1) / (calls[-1] - calls[0])
    place.notes.append(f"{len(calls):,} calls at {achieved:,.2f} a second")
    return [at_least("share of the allowed rate", achieved / RATE_PER_SECOND, 0.97)]
