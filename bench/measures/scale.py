"""The cost of an item among a million, beside its cost among a hundred thousand.

Each takes a fresh process and a fresh database, alternating, so neither peaks nor tables mix.
"""

import statistics
from collections.abc import Sequence

from harness.figures import Figure, at_most

from bench.place import Place

TITLE = "a million items beside a hundred thousand"
FEW, MANY, ROUNDS = 100_000, 1_000_000, 3


async def measure(place: Place) -> Sequence[Figure]:
    """The ratio of the medians, and the peak resident size."""
    few, many = place.sized(FEW), place.sized(MANY)
    costs: dict[int, list[float]] = {few: [], many: []}
    resident = 0.0
    for _ in range(ROUNDS):
        for count, found in costs.items():
            walked = await place.walk_items(count)
            found.append(walked["seconds"] / count)
            resident = max(resident, walked["resident_mb"])
    least, most = (statistics.median(costs[count]) for count in (few, many))
    place.notes.append(
        f"{least * 1e6:,.0f} µs an item among {few:,}, {most * 1e6:,.0f} µs among {many:,}"
    )
    return [
        at_most(f"cost per item at {many:,} ÷ at {few:,}", most / least, 1.25),
        at_most("resident MB", resident, 300),
    ]
