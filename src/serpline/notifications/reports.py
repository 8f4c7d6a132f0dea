"""From an event to a report: which incident it opens or ends, and what is said about it.

Details of events may hold any text. What is missing is left out.
"""

from collections.abc import Callable, Mapping
from typing import Final

from serpline.notifications import backfill_reports, schedule_reports
from serpline.notifications.note import Level, Note, clean, when
from serpline.notifications.report import Report, Row, RunFacts, Runs, made
from serpline.notifications.schedule_reports import SLOTS


def report_of(event: Row, runs: Runs) -> Report | None:
    """Return the report of a row of ``pipeline_events``, or None if nobody hears of it."""
    make = _REPORTS.get(event["event_type"])
    return None if make is None else make(event, runs)


def is_reported(event_type: str) -> bool:
    """Whether an event of this type may make a report."""
    return event_type in _REPORTS


def unreadable(event: Row) -> Report:
    """Return the report of an event that has another form than expected."""
    kind = event["event_type"]
    note = Note(
        Level.WARNING,
        f"Event {event['id']} is {kind}",
        f"events {kind}",
        str(event["id"]),
        (f"It was written at {when(event['occurred_at'])}.", "Its details cannot be read."),
        "The log of the process that notifies has the reason.",
        "serpline doctor",
    )
    return made(event, f"event:{event['id']}", note=note)


# How a run ended: level, words for one, words for many, what it means.
_RUN_ENDS: Final[Mapping[str, tuple[Level, str, str, str]]] = {
    "run.failed": (Level.FAILURE, "failed", "runs failed", "It has no figures."),
    "run.completed_with_errors": (
        Level.WARNING,
        "completed with errors",
        "runs completed with errors",
        "Its figures are there, but a part of the data is missing.",
    ),
    "run.completed": (Level.SUCCESS, "completed", "runs completed", "Its figures are there."),
    "run.cancel": (Level.INFO, "was cancelled", "runs were cancelled", "It does no more work."),
}


def _run(event: Row, runs: Runs) -> Report:
    run_id, kind = event["run_id"], event["event_type"]
    level, ended, many, meaning = _RUN_ENDS[kind]
    facts = runs.get(run_id, RunFacts())
    of = f" of schedule {clean(facts.schedule, 200)!r}" if facts.schedule else ""
    short = str(run_id)[:8]
    told = [f"It ended at {when(event['occurred_at'])}."]
    if facts.scheduled_for is not None:
        told.insert(0, f"It was scheduled for {when(facts.scheduled_for)}.")
    if error := (event["detail"] or {}).get("error"):
        told.append(f"Reason: {clean(error)}")
    told += [f"Skipped: {clean(why)}" for why in (event["detail"] or {}).get("skipped") or ()]
    command = f"serpline run show {run_id}"
    incident = f"run:{run_id}"

    def note(headline: str, level: Level) -> Note:
        return Note(level, headline, f"{many}{of}", short, tuple(told), meaning, command)

    is_failure = level in (Level.FAILURE, Level.WARNING)
    recovered = kind == "run.completed"
    return made(
        event,
        incident,
        schedule=facts.schedule,
        note=note(f"Run {short}{of} {ended}", level),
        ending=note(f"Run {short}{of} completed after a retry", level) if recovered else None,
        closes=() if is_failure else (incident,),
        lasts=is_failure,
        # A run ends again only after a retry, which a person asked for.
        again=is_failure,
    )


def _budget(event: Row, _runs: Runs) -> Report:
    detail = event["detail"] or {}
    provider, scope = clean(detail.get("provider"), 40), clean(detail.get("scope"), 40)
    is_spent = event["event_type"] == "budget.100"
    period = scope.replace(":", " ", 1)
    share = "all" if is_spent else "80 %"
    spent, limit = clean(detail.get("spent"), 40), clean(detail.get("limit"), 40)
    later = "Work that needs it waits until the period ends or the limit is raised."
    return made(
        event,
        f"{event['event_type']}:{event['id']}",
        note=Note(
            Level.FAILURE if is_spent else Level.WARNING,
            f"{share[0].upper()}{share[1:]} of the {provider} budget of {period} is spent",
            "budgets are spent" if is_spent else "budgets are spent to 80 %",
            f"{provider}, {period}",
            (f"{spent} of {limit} credits are spent.",),
            later if is_spent else f"When all of it is spent: {later[0].lower()}{later[1:]}",
            "serpline budgets list",
        ),
    )


def _webhook(event: Row, runs: Runs) -> Report:
    facts = runs.get(event["run_id"], RunFacts())
    batch = clean((event["detail"] or {}).get("batch"), 200)
    told = (f"Its results were found by a poll at {when(event['occurred_at'])}.",)
    return made(
        event,
        # A wrong address makes every batch late, and no event shows that it was mended.
        f"webhook:{event['occurred_at']:%Y-%m-%d}",
        schedule=facts.schedule,
        lasts=True,
        note=Note(
            Level.WARNING,
            f"The webhook of batch {batch} did not come",
            "webhooks did not come",
            batch,
            told,
            "No result is lost. The provider may not reach SERPLINE_PUBLIC_URL.",
            "serpline doctor",
        ),
    )


_REPORTS: Final[Mapping[str, Callable[[Row, Runs], Report]]] = {
    **dict.fromkeys(_RUN_ENDS, _run),
    **dict.fromkeys(SLOTS, schedule_reports.slot),
    "slot.started": schedule_reports.slot_started,
    "schedule.paused": schedule_reports.paused,
    "schedule.resumed": schedule_reports.resumed,
    "schedule.deleted": schedule_reports.resumed,
    "schedule.stale": schedule_reports.freshness,
    "schedule.fresh": schedule_reports.freshness,
    "backfill.completed": backfill_reports.completed,
    "backfill.paused": backfill_reports.paused,
    "backfill.resumed": backfill_reports.resumed,
    "backfill.cancelled": backfill_reports.resumed,
    "batch.webhook_late": _webhook,
    "proposal.made": schedule_reports.proposal,
    "batch.held_back": schedule_reports.held_back,
    "budget.80": _budget,
    "budget.100": _budget,
}
