"""The kinds of things that a destination may be told, and which it is told unless it chooses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from serpline.domain.errors import UserError

USUAL: Final = "usual"
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Kind:
    """``words``: what happened. ``is_usual``: a destination hears of it unless it chooses kinds."""

    words: str
    is_usual: bool = True


# A kind has the name of its event. No event says that a breaker has been open for long.
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "run.failed": Kind("a run failed"),
        "run.completed_with_errors": Kind("a run completed with errors"),
        "run.completed": Kind("a run completed", is_usual=False),
        "run.cancel": Kind("a run was cancelled", is_usual=False),
        "schedule.paused": Kind("a schedule was paused"),
        "schedule.stale": Kind("data is older than the schedule's freshness target"),
        "slot.missed": Kind("a scheduled time passed without its run"),
        "slot.refused": Kind("the run of a scheduled time could not be created"),
        "slot.skipped": Kind("a scheduled time was skipped by a rule", is_usual=False),
        "backfill.completed": Kind("a backfill has filled what it could"),
        "backfill.paused": Kind("a backfill was paused, by its credit limit or by hand"),
        "batch.webhook_late": Kind("a provider's webhook did not come"),
        "proposal.made": Kind("a change of a schedule is proposed"),
        "batch.held_back": Kind("a budget holds back a batch that the provider starts"),
        "breaker.open": Kind("a circuit breaker has been open for long"),
        "budget.80": Kind("80 % of a budget is spent"),
        "budget.100": Kind("a budget is spent"),
    }
)


def chosen(names: Sequence[str] | None) -> list[str] | None:
    """Return the kinds that a person named; None: the usual ones.

    ``usual`` and ``all`` stand for those kinds. Raises ``UserError`` for an unknown name.
    """
    if names is None:
        return None
    found: list[str] = []
    for name in names:
        if name == USUAL:
            found += usual()
        elif name == ALL:
            found += KINDS
        elif name in KINDS:
            found.append(name)
        else:
            allowed = ", ".join((USUAL, ALL, *KINDS))
            raise UserError(f"--event {name!r}: must be one of {allowed}")
    return list(dict.fromkeys(found))


def usual() -> list[str]:
    """Return the kinds that a destination hears of unless it chooses."""
    return [name for name, kind in KINDS.items() if kind.is_usual]
