"""Reports about backfills: their end, and a pause until somebody resumes or cancels them."""

from collections.abc import Mapping

from serpline.notifications.note import Level, Note, clean, quoted, when
from serpline.notifications.report import Report, Row, Runs, made


def completed(event: Row, _runs: Runs) -> Report:
    """No slot of a backfill waits any more. Some may have got no figures."""
    counted = (event["detail"] or {}).get("slots")
    counts = counted if isinstance(counted, Mapping) else {}
    told = [f"{clean(count, 20)} slots: {clean(name, 20)}." for name, count in counts.items()]
    is_whole = not set(counts) - {"completed"}
    return made(
        event,
        f"backfill-completed:{event['id']}",
        schedule=_schedule(event),
        closes=(_key(event),),
        note=Note(
            Level.SUCCESS if is_whole else Level.WARNING,
            f"{_named(event)} has ended",
            "backfills have ended",
            _subject(event),
            tuple(told[:9]),
            "Its slots have figures." if is_whole else "Some slots have no figures.",
            _command(event),
        ),
    )


def paused(event: Row, _runs: Runs) -> Report:
    """A backfill starts no more runs."""
    reason = (event["detail"] or {}).get("reason")
    told = [f"Since {when(event['occurred_at'])}."]
    if reason:
        told.append(f"Reason: {clean(reason)}")
    return made(
        event,
        _key(event),
        schedule=_schedule(event),
        lasts=True,
        note=Note(
            Level.WARNING,
            f"{_named(event)} is paused",
            "backfills are paused",
            _subject(event),
            tuple(told),
            "It starts no runs until somebody resumes it.",
            _command(event),
        ),
    )


def resumed(event: Row, _runs: Runs) -> Report:
    """A paused backfill goes on, or is cancelled."""
    ending = Note(
        Level.SUCCESS,
        f"{_named(event)} goes on",
        "backfills go on",
        _subject(event),
        (f"Since {when(event['occurred_at'])}.",),
        "It starts runs again.",
        _command(event),
    )
    is_cancelled = event["event_type"] == "backfill.cancelled"
    return made(
        event,
        "",
        schedule=_schedule(event),
        closes=(_key(event),),
        ending=None if is_cancelled else ending,
    )


def _schedule(event: Row) -> str:
    return str((event["detail"] or {}).get("schedule") or "")


def _number(event: Row) -> str:
    return clean((event["detail"] or {}).get("backfill"), 20)


def _key(event: Row) -> str:
    return f"backfill:{_number(event)}"


def _named(event: Row) -> str:
    return f"Backfill {_number(event)} of schedule {clean(_schedule(event), 200)!r}"


def _subject(event: Row) -> str:
    return f"{_schedule(event)} ({_number(event)})"


def _command(event: Row) -> str:
    return f"serpline schedule backfills {quoted(_schedule(event))}"
