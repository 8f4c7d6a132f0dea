"""Eight worker processes beside one, on a provider that takes two seconds for each call.

Each is a default worker: four chunks at once, sixteen calls of each. One worker makes the 32 calls
a second that the latency allows. Measured are the calls of eight workers, and the statements per
call, including those of waits, heartbeats and the queue.

Workers, PostgreSQL and the provider share the machine's processors. Two cores are enough.
"""

from collections.abc import Sequence

from harness.figures import Figure, at_least, at_most

from bench.place import Place
from bench.provider_calls import CallLog, make_calls

TITLE = "eight workers beside one, 2 s a call"
CALLS, CHUNK_SIZE, FLEET = 960, 40, 8
LATENCY_SECONDS = 2.0


async def measure(place: Place) -> Sequence[Figure]:
    """The ratios, of one round each."""
    one, eight = await _make_calls(place, 1), await _make_calls(place, FLEET)
    place.notes.append(
        f"{one.per_second:,.1f} calls/s and {one.statements_per_call:.2f} statements a call with"
        f" one worker, {eight.per_second:,.1f} and {eight.statements_per_call:.2f} with eight"
    )
    return [
        at_least("times one worker's calls per second", eight.per_second / one.per_second, 6),
        at_most(
            "times one worker's statements per call",
            eight.statements_per_call / one.statements_per_call,
            1.5,
        ),
    ]


async def _make_calls(place: Place, workers: int) -> CallLog:
    return await make_calls(
        place,
        workers=workers,
        calls=place.sized(CALLS) * workers,
        latency_seconds=LATENCY_SECONDS,
        rate_per_second=10_000.0,
        chunks_at_once=4,
        calls_at_once=16,
        # Small chunks, so that no worker runs out of them before the others.
        chunk_size=CHUNK_SIZE,
    )
