"""Compare an estimate with the limits: credits of the run, the day and the month, and pace."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from serpline.config.prices import UNITS
from serpline.config.run import PipelineConfig
from serpline.domain.names import PhaseName
from serpline.pipeline.things import Line
from serpline.robustness.policies import ProviderPolicy


def limit_warnings(
    credits_: Mapping[str, float], config: PipelineConfig, usage: Iterable[Mapping[str, Any]]
) -> tuple[str, ...]:
    """Name the limits below an estimate. ``usage``: from ``robustness.budget.usage``."""
    found = []
    for provider, limit in config.credit_limits.items():
        needed = credits_.get(provider, 0.0)
        if limit < needed:
            found.append(
                f"credit_limits.{provider}={limit:,g}: the run needs {_of(provider, needed)}"
            )
    for row in usage:
        needed, left = credits_.get(row["provider"], 0.0), row["left"]
        if left is not None and left < needed:
            period = str(row["scope"]).partition(":")[0]
            found.append(
                f"{row['provider']}: {float(left):,g} left of {float(row['limit_credits']):,g} a"
                f" {period}: the run needs {_of(row['provider'], needed)}, so it will wait"
            )
    return tuple(found)


def _of(provider: str, credits_: float) -> str:
    unit = UNITS[provider].partition(" (")[0]
    return f"about {credits_:,.0f} {unit}"


def pace_seconds(lines: Sequence[Line], policies: Iterable[ProviderPolicy]) -> float:
    """The least seconds that the providers' pace allows: phases one after another.

    Within a phase its slowest provider counts. The time that a provider needs for a batch of
    searches is not in it.
    """
    rates = {policy.provider: policy.rate_per_second for policy in policies}
    return sum(
        max(
            (
                each.calls / rates[each.provider]
                for each in lines
                if each.phase is phase and each.is_called
            ),
            default=0,
        )
        for phase in PhaseName
    )
