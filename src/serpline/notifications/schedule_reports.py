"""Reports about schedules: pauses, freshness, scheduled times, proposals."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from serpline.domain.names import ContentType
from serpline.notifications.note import Level, Note, clean, quoted, when
from serpline.notifications.report import Report, Row, Runs, made

Details = Mapping[str, Any]


def _named(detail: Details) -> tuple[str, str]:
    """The schedule's name, for keys and for sentences."""
    name = str(detail.get("schedule") or "")
    return name, f"schedule {clean(name, 200)!r}"


def _type_of(event: Row) -> str:
    return str(event["content_type"] or (event["detail"] or {}).get("content_type") or "")


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _facts(event: Row, *facts: str) -> tuple[str, ...]:
    reason = (event["detail"] or {}).get("reason")
    told = [fact for fact in facts if fact]
    return tuple([*told, f"Reason: {clean(reason)}"] if reason else told)


def _keys(prefix: str, kinds: Collection[str], name: str) -> tuple[str, ...]:
    """The incidents of content types of a schedule; of all of them if none is named."""
    return tuple(f"{prefix}:{kind}:{name}" for kind in kinds or ("", *ContentType))


def _key(prefix: str, kind: str, name: str) -> str:
    return _keys(prefix, (kind,), name)[0]


def _kinds(event: Row) -> tuple[str, ...]:
    """The content types that an event names."""
    listed = (event["detail"] or {}).get("content_types")
    kinds = [str(kind) for kind in listed] if isinstance(listed, list) else [_type_of(event)]
    return tuple(kind for kind in kinds if kind)


def paused(event: Row, _runs: Runs) -> Report:
    """A schedule, or one content type of it, starts no more runs."""
    name, words = _named(event["detail"] or {})
    kind = _type_of(event)
    what = f"{words} ({kind})" if kind else words
    return made(
        event,
        _key("paused", kind, name),
        schedule=name,
        lasts=True,
        note=Note(
            Level.FAILURE,
            f"{_capital(what)} is paused",
            "schedules are paused",
            name if not kind else f"{name} ({kind})",
            _facts(event, f"Since {when(event['occurred_at'])}."),
            "It starts no runs until somebody resumes it.",
            f"serpline schedule show {quoted(name)}",
        ),
    )


def resumed(event: Row, _runs: Runs) -> Report:
    """A paused schedule goes on with all of its content types, or is deleted."""
    name, words = _named(event["detail"] or {})
    is_deleted = event["event_type"] == "schedule.deleted"
    closes = _keys("paused", (), name)
    ending = Note(
        Level.SUCCESS,
        f"{_capital(words)} goes on",
        "schedules go on",
        name,
        _facts(event, f"Since {when(event['occurred_at'])}."),
        "It starts runs again.",
        f"serpline schedule show {quoted(name)}",
    )
    if is_deleted:
        closes = (*closes, *_keys("stale", (), name), *_keys("refused", (), name))
    return made(event, "", schedule=name, closes=closes, ending=None if is_deleted else ending)


def freshness(event: Row, _runs: Runs) -> Report:
    """Data became older than its target, or is fresh again."""
    detail = event["detail"] or {}
    name, words = _named(detail)
    kind = _type_of(event)
    is_fresh = event["event_type"] == "schedule.fresh"
    until = detail.get("fresh_until")
    note = Note(
        Level.SUCCESS if is_fresh else Level.WARNING,
        f"The {kind} data of {words} is {'fresh again' if is_fresh else 'too old'}",
        "schedules have fresh data again" if is_fresh else "schedules have data that is too old",
        f"{name} ({kind})" if kind else name,
        _facts(
            event,
            f"It was fresh until {when(until)}." if until else "",
            f"Since {when(event['occurred_at'])}.",
        ),
        "Its figures are up to date." if is_fresh else "Its newest figures are older than agreed.",
        f"serpline schedule slots {quoted(name)}",
    )
    if is_fresh:
        return made(
            event, "", schedule=name, closes=_keys("stale", _kinds(event), name), ending=note
        )
    return made(event, _key("stale", kind, name), schedule=name, lasts=True, note=note)


# What became of scheduled times: level, words for it, what it means.
SLOTS: Final[Mapping[str, tuple[Level, str, str]]] = {
    "slot.missed": (Level.WARNING, "missed", "No run collects data for that time."),
    "slot.refused": (
        Level.FAILURE,
        "could not start its run of",
        "No run collects data for that time, nor for later ones until the cause is mended.",
    ),
    "slot.skipped": (Level.INFO, "skipped", "No run was started at that time."),
}


def slot(event: Row, _runs: Runs) -> Report:
    """Scheduled times brought no run. After a downtime one event stands for many."""
    name, words = _named(event["detail"] or {})
    kind, times = _type_of(event), _times(event)
    level, verb, meaning = SLOTS[event["event_type"]]
    is_refusal = event["event_type"] == "slot.refused"
    types = f" ({kind})" if kind else ""
    return made(
        event,
        _key("refused", kind, name) if is_refusal else f"slot:{event['id']}",
        schedule=name,
        # A schedule that cannot start is one incident, not one for each of its times.
        lasts=is_refusal,
        note=Note(
            level,
            f"{_capital(words)} {verb} {times}{types}",
            f"times that {words} {verb}",
            f"{times}{types}",
            _facts(event),
            meaning,
            f"serpline schedule slots {quoted(name)}",
        ),
    )


def _times(event: Row) -> str:
    """The scheduled time of an event, or the first and the last, and how many they are."""
    detail = event["detail"] or {}
    first, last = detail.get("first"), detail.get("last")
    if first is None or first == last:
        return when(detail.get("scheduled_for", first) or event["occurred_at"])
    return f"{clean(detail.get('slots'), 20)} times from {when(first)} to {when(last)}"


def slot_started(event: Row, _runs: Runs) -> Report:
    """A scheduled time started its run, so a schedule that was refused is not any more."""
    name, words = _named(event["detail"] or {})
    ending = Note(
        Level.SUCCESS,
        f"{_capital(words)} starts runs again",
        "schedules start runs again",
        name,
        (f"Since {when(event['occurred_at'])}.",),
        "The cause of the refusals is gone.",
        f"serpline schedule slots {quoted(name)}",
    )
    closes = _keys("refused", _kinds(event), name)
    return made(event, "", schedule=name, closes=closes, ending=ending)


def held_back(event: Row, _runs: Runs) -> Report:
    """A budget has no room for the next start of a batch, so the provider does not make it."""
    detail = event["detail"] or {}
    name, words = _named(detail)
    kind, cost = _type_of(event), clean(detail.get("credits"), 40)
    scope = clean(detail.get("budget"), 40).replace(":", " ", 1)
    return made(
        event,
        f"held:{event['id']}",
        schedule=name,
        note=Note(
            Level.WARNING,
            f"The provider's next start for {words} ({kind}) is held back",
            "starts by the provider are held back",
            f"{name} ({kind})",
            (f"It costs {cost} credits, for which {scope} has no room.",),
            "The provider does not make it. The slot's run makes its searches when there is room.",
            f"serpline schedule show {quoted(name)}",
        ),
    )


def proposal(event: Row, _runs: Runs) -> Report:
    """A change of a schedule was proposed."""
    summary = (event["detail"] or {}).get("summary")
    name, words = _named(event["detail"] or {})
    return made(
        event,
        f"proposal:{event['id']}",
        schedule=name,
        note=Note(
            Level.INFO,
            f"A change of {words} is proposed",
            "changes of schedules are proposed",
            name,
            _facts(event, clean(summary) if summary else ""),
            "Nothing changes until somebody accepts it.",
            f"serpline schedule proposals {quoted(name)}",
        ),
    )
