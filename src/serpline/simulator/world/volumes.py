"""Search volumes: heavy-tailed, in Google's buckets, by location, sometimes unknown."""

from dataclasses import dataclass
from datetime import date

from serpline.simulator.seeds import stream, unit

# Google rounds volumes to these steps.
_STEPS = (10, 11, 13, 16, 17, 19, 21, 24, 26, 29, 32, 36, 39, 44, 48, 54, 59, 66, 72, 81, 88, 99)
_UNKNOWN = 0.12
_SMALLER = {2826: 0.22, 2124: 0.12, 2276: 0.18, 2250: 0.15, 2616: 0.08, 2840: 1.0}


@dataclass(frozen=True, slots=True)
class Volume:
    """Metrics of a keyword in a location. ``monthly``: twelve months, newest first."""

    volume: int
    competition: str
    competition_index: int
    cpc: float
    low_bid: float
    high_bid: float
    monthly: tuple[tuple[int, int, int], ...]


def bucket(value: float) -> int:
    """The nearest step at or below ``value``; 0 below ten."""
    if value < 10:
        return 0
    scale = 1
    while value / scale >= 100:
        scale *= 10
    return max(step for step in _STEPS if step <= value / scale) * scale


def volume_of(seed: int, keyword: str, location: int, language: str, day: date) -> Volume | None:
    """The metrics of a keyword in a location; None if they are unknown."""
    word = " ".join(keyword.lower().split())
    if unit(seed, "volume?", word, location) < _UNKNOWN:
        return None
    everywhere = stream(seed, "volume", word).lognormvariate(7.2, 1.7)
    here = stream(seed, "volume", word, location, language)
    mean = everywhere * _SMALLER.get(location, 0.1) * here.uniform(0.5, 1.6)
    months = []
    year, month = day.year, day.month
    for _ in range(12):
        month -= 1
        if month == 0:
            year, month = year - 1, 12
        season = 1 + 0.35 * (unit(seed, "season", word, month) - 0.5)
        months.append((year, month, bucket(mean * season)))
    index = here.randint(0, 100)
    low = round(here.uniform(0.05, 2.5), 2)
    high = round(low * here.uniform(1.5, 5), 2)
    return Volume(
        volume=bucket(mean),
        competition="LOW" if index < 34 else "MEDIUM" if index < 67 else "HIGH",
        competition_index=index,
        cpc=round((low + high) / 2, 2),
        low_bid=low,
        high_bid=high,
        monthly=tuple(months),
    )
