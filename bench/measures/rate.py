"""How much of a provider's allowed rate two workers make use of, by the provider's own log."""

from collections.abc import Sequence

from chaos.scorecard import Figure, at_least

from bench.calling import calls_of
from bench.place import Place

TITLE = "a provider limited to 50 calls a second"
RATE_PER_SECOND, CALLS = 50.0, 1_500


async def measure(place: Place) -> Sequence[Figure]:
    """The achieved rate, from the first call to the last."""
    calls = await calls_of(
        place,
        workers=2,
        calls=place.sized(CALLS),
        latency_seconds=0.05,
        rate_per_second=RATE_PER_SECOND,
        chunks_at_once=4,
        calls_at_once=16,
    )
    achieved = (len(calls) - 1) / (calls[-1] - calls[0])
    place.notes.append(f"{len(calls):,} calls at {achieved:,.2f} a second")
    return [at_least("share of the allowed rate", achieved / RATE_PER_SECOND, 0.97)]
