"""What a schedule costs in a month, before a credit is spent.

The runs of the coming year are counted and divided by twelve. Searches are bought by every run, so
their number is exact. Search volumes are bought once in ``reference_ttl_days``. Companies, videos
and analyses lie between two bounds: every run finds the same things (each is bought once in
``reference_ttl_days``), or every run finds new ones.

Limits: what a provider that is not set up would cost is included, and said. One run is estimated by
``pipeline.estimate``, with its limits. Retries and backfills are not counted.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from serpline.config.prices import BUILT_IN, UNITS, Prices
from serpline.config.run import PipelineConfig
from serpline.domain.errors import UserError
from serpline.domain.names import PhaseName
from serpline.pipeline.estimate import Estimate, Providers, estimate
from serpline.pipeline.things import Line
from serpline.scheduling.merging import Followed, due_slots, groups, run_config
from serpline.scheduling.spec import ScheduleSpec
from serpline.store import projects
from serpline.store.database import Connection

YEAR = timedelta(days=365)
MONTH = YEAR / 12
# A schedule of every minute is counted over this many instants, not over a year.
INSTANTS_MAX = 5_000


async def monthly_cost(
    conn: Connection,
    specs: Sequence[ScheduleSpec],
    now: datetime,
    providers: Providers,
) -> dict[str, Any]:
    """Return runs, searches and, by provider, credits of an average month of the coming year.

    ``credits`` and ``usd`` are the lower bounds, ``credits_max`` and ``usd_max`` the upper ones.
    ``error``: why nothing can be estimated, else None.
    """
    runs = runs_per_month(specs, now)
    total: dict[str, Any] = {"runs": round(sum(count for _, count in runs), 1)}
    found: list[tuple[PipelineConfig, Estimate, float]] = []
    try:
        for followed, count in runs:
            config = run_config(followed, None)
            await projects.check_landscape(conn, config.landscape)
            one = await estimate(conn, config, providers, now, finds_new=True)
            found.append((config, one, count))
    except UserError as error:
        return {**total, "searches": None, "providers": {}, "error": str(error)}
    searches = round(sum(one.searches * count for _, one, count in found))
    return {
        **total,
        "searches": searches,
        "providers": _by_provider(found, providers.prices),
        "error": None,
    }


def runs_per_month(specs: Sequence[ScheduleSpec], now: datetime) -> list[tuple[Followed, float]]:
    """Return what runs collect, each with the number of such runs in an average month."""
    found: dict[tuple[int, ...], Sequence[ScheduleSpec]] = {}
    counts: Counter[tuple[int, ...]] = Counter()
    span = YEAR
    for number, due in enumerate(due_slots(specs, now), 1):
        if due.scheduled_for - now > YEAR:
            break
        key = tuple(map(id, due.specs))
        found.setdefault(key, due.specs)
        counts[key] += 1
        if number == INSTANTS_MAX:
            span = due.scheduled_for - now
            break
    return [
        (followed, counts[key] * (MONTH / span))
        for key, together in found.items()
        for followed in groups(together)
    ]


def _by_provider(
    found: Sequence[tuple[PipelineConfig, Estimate, float]], prices: Prices = BUILT_IN
) -> dict[str, dict[str, Any]]:
    least: dict[str, float] = defaultdict(float)
    most: dict[str, float] = defaultdict(float)
    bases: dict[str, dict[str, None]] = {}
    for config, line, count in _lines(found):
        low, high = _purchases(config, line, count)
        least[line.provider] += line.credits * low
        most[line.provider] += line.credits * high
        bases.setdefault(line.provider, {})[line.words] = None
    return {
        provider: {
            "credits": round(least[provider], 2),
            "credits_max": round(most[provider], 2),
            "unit": UNITS[provider],
            "usd": prices.usd(provider, least[provider]),
            "usd_max": prices.usd(provider, most[provider]),
            "basis": "; ".join(known),
        }
        for provider, known in bases.items()
    }


def _lines(
    found: Sequence[tuple[PipelineConfig, Estimate, float]],
) -> list[tuple[PipelineConfig, Line, float]]:
    """Every line with the runs a month. Runs over the same keywords share their volumes."""
    lines: list[tuple[PipelineConfig, Line, float]] = []
    volumes: dict[str | None, tuple[PipelineConfig, Line, float]] = {}
    for config, one, count in found:
        for line in one.lines:
            if line.phase is not PhaseName.KEYWORD_METRICS or config.force_refresh:
                lines.append((config, line, count))
                continue
            shared = volumes.get(config.landscape)
            volumes[config.landscape] = (config, line, count + (shared[2] if shared else 0.0))
    return [*volumes.values(), *lines]


def _purchases(config: PipelineConfig, line: Line, runs: float) -> tuple[float, float]:
    """How often a month the things of a line are bought: at least, and at most."""
    if line.phase is PhaseName.SERP_COLLECTION or config.force_refresh:
        return runs, runs
    days = config.reference_ttl_days
    once = min(runs, MONTH / timedelta(days=days)) if days else runs
    return once, once if line.phase is PhaseName.KEYWORD_METRICS else runs
