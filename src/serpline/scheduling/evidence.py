"""A pattern as the evidence of a proposal, and what the slots after its acceptance did."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from serpline.scheduling.adjustment import Factor, Observation, Pattern, Table, Trouble
from serpline.scheduling.proportions import Counts
from serpline.scheduling.proposed_change import WEEKDAYS


def evidence_of(pattern: Pattern) -> dict[str, Any]:
    """The pattern as JSON. ``promised``: the share of the other slots, which a change aims at."""
    table = pattern.table
    return {
        "trouble": str(table.trouble),
        "factor": str(table.factor),
        "level": table.level,
        "provider": table.provider,
        "ours": counts_json(table.ours),
        "others": counts_json(table.others),
        "promised": table.others.share,
        "p_value": pattern.p_value,
        "threshold": pattern.threshold,
        "tests": pattern.tests,
        "look": pattern.look,
    }


def counts_json(counts: Counts) -> dict[str, int | float]:
    """Counts as JSON: ``bad`` of ``total``, and the share."""
    return {"bad": counts.bad, "total": counts.total, "share": counts.share}


def sentence_of(pattern: Pattern) -> str:
    """The pattern in words, with its counts and p-value."""
    ours, others = pattern.table.ours, pattern.table.others
    return (
        f"{ours.bad} of {ours.total} {_units(pattern.table)} {_verb(pattern.table)}, of the others"
        f" {others.bad} of {others.total} (p = {pattern.p_value:.1g})"
    )


def _units(table: Table) -> str:
    if table.factor is Factor.HOUR:
        return f"slots at {table.level:02}:00"
    if table.factor is Factor.WEEKDAY:
        return f"{WEEKDAYS[int(table.level) - 1].capitalize()}s"
    if table.factor is Factor.PROVIDER:
        return f"slots with errors of {table.level}"
    return f"batches of {table.provider} with more than {table.level:,} searches"


def _verb(table: Table) -> str:
    return "failed" if table.trouble is Trouble.FAILED else "started late or never"


def troubled(
    slots: Iterable[Observation], evidence: Mapping[str, Any], change: Mapping[str, Any]
) -> Counts:
    """Count the slots that a change is about, and those of them in the trouble it should end.

    Of moved slots these are the slots at their new hour or on their weekday. Of smaller batches
    they are the provider's batches.
    """
    trouble, factor = Trouble(evidence["trouble"]), Factor(evidence["factor"])
    if factor is Factor.BATCH_SIZE:
        batches = [b for slot in slots for b in slot.batches if b.provider == evidence["provider"]]
        return _count(batch.failed for batch in batches)
    return _count(
        slot.failed if trouble is Trouble.FAILED else slot.late
        for slot in slots
        if _is_about(slot.local, change)
    )


def _is_about(local: datetime, change: Mapping[str, Any]) -> bool:
    if "to_hour" in change:
        return bool(local.hour == change["to_hour"])
    if "weekday" in change:
        return bool(WEEKDAYS[local.weekday()] == change["weekday"])
    return True


def _count(found: Iterable[bool | None]) -> Counts:
    judged = [each for each in found if each is not None]
    return Counts(sum(judged), len(judged))
