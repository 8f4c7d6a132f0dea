"""One incident is one notification, and its end is told to those who heard of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.domain.errors import UserError
from serpline.notifications import kinds
from serpline.notifications.incidents import Destination, plan
from serpline.notifications.note import Level, Note, clean, when
from serpline.notifications.report import RunFacts
from serpline.notifications.reports import _REPORTS, report_of

WHEN = datetime(2026, 11, 30, 6, 0, tzinfo=UTC)
RUN = "0f0e0d0c-0000-0000-0000-000000000001"

FIRST = "2026-11-30 06:00 UTC"
# The details of an event about scheduled times.
ONE_SLOT = {"schedule": "s", "slots": 1, "first": WHEN.isoformat(), "last": WHEN.isoformat()}


def event(number: int, kind: str, content_type: str | None = None, **detail: Any) -> dict[str, Any]:
    return {
        "id": number,
        "occurred_at": WHEN,
        "run_id": RUN if kind.startswith("run.") else None,
        "event_type": kind,
        "phase_name": None,
        "content_type": content_type,
        "detail": detail,
    }


def told(*events: dict[str, Any], **rules: Any) -> list[tuple[str, bool]]:
    """The headlines that a destination hears of, and whether their incident is still open."""
    rules = {"events": None, "schedules": None, "since_id": 0, **rules}
    reports = [report_of(one, {}) for one in events]
    made = plan([one for one in reports if one], [Destination("ops", **rules)], {})
    assert made.ended == []
    return [(one.note.headline, one.is_open) for one in made.new]


def test_a_run_that_fails_and_is_retried() -> None:
    """Each failure of a run is told, and then that it completed."""
    assert told(event(1, "run.failed"), event(2, "run.failed"), event(3, "run.completed")) == [
        ("Run 0f0e0d0c failed", False),
        ("Run 0f0e0d0c failed", False),
        ("Run 0f0e0d0c completed after a retry", False),
    ]
    assert told(event(1, "run.completed")) == []
    assert told(event(1, "run.failed"), event(2, "run.cancel")) == [("Run 0f0e0d0c failed", False)]


def test_a_schedule_that_pauses_and_goes_on() -> None:
    """A pause is told once, and its end; resuming the schedule ends the pauses of its types."""
    pauses = [event(n, "schedule.paused", "news", schedule="s") for n in (1, 2)]
    others = [event(3, "schedule.paused", "organic", schedule="s")]
    assert told(*pauses, *others) == [
        ("Schedule 's' (news) is paused", True),
        ("Schedule 's' (organic) is paused", True),
    ]
    whole = event(4, "schedule.paused", schedule="s")
    # The event names the types that were paused, and the schedule goes on as a whole.
    resumed = event(5, "schedule.resumed", schedule="s", content_types=["news"])
    found = told(*pauses, *others, whole, resumed)
    assert found[-1] == ("Schedule 's' goes on", False)
    assert not any(is_open for _, is_open in found)
    assert told(*pauses, event(4, "schedule.deleted", schedule="s")) == [
        ("Schedule 's' (news) is paused", False)
    ]


def test_stale_and_refused() -> None:
    """Stale data and refused slots are told once, until they end; missed slots are told each."""
    assert told(
        event(1, "schedule.stale", "news", schedule="s"),
        event(2, "schedule.stale", "news", schedule="s"),
        event(3, "schedule.fresh", "news", schedule="s"),
        event(4, "slot.refused", "news", **ONE_SLOT),
        event(5, "slot.refused", "news", **ONE_SLOT),
        event(6, "slot.started", schedule="s", content_types=["news", "video"]),
        event(7, "slot.missed", "news", **ONE_SLOT),
        event(8, "slot.missed", "news", **{**ONE_SLOT, "slots": 72, "last": "2026-12-03T05:00Z"}),
    ) == [
        ("The news data of schedule 's' is too old", False),
        ("The news data of schedule 's' is fresh again", False),
        ("Schedule 's' could not start its run of 2026-11-30 06:00 UTC (news)", False),
        ("Schedule 's' starts runs again", False),
        ("Schedule 's' missed 2026-11-30 06:00 UTC (news)", False),
        (f"Schedule 's' missed 72 times from {FIRST} to 2026-12-03 05:00 UTC (news)", False),
    ]


def test_backfills() -> None:
    """A pause is told once and ends with the backfill; its end is told, with what is missing."""
    of = {"schedule": "s", "backfill": 7}
    spent = event(1, "backfill.paused", reason="its credit limit of 9 for scaleserp is spent", **of)
    resumed = event(2, "backfill.resumed", **of)
    ended = event(4, "backfill.completed", slots={"completed": 2, "failed": 1}, **of)
    assert told(spent, spent, resumed, event(3, "backfill.progress", **of), ended) == [
        ("Backfill 7 of schedule 's' is paused", False),
        ("Backfill 7 of schedule 's' goes on", False),
        ("Backfill 7 of schedule 's' has ended", False),
    ]
    assert told(spent, event(2, "backfill.cancelled", **of)) == [
        ("Backfill 7 of schedule 's' is paused", False)
    ]
    report = report_of(ended, {})
    assert report is not None
    assert report.note is not None
    assert (report.note.level, report.note.facts) == (
        Level.WARNING,
        ("2 slots: completed.", "1 slots: failed."),
    )
    whole = report_of(event(5, "backfill.completed", slots={"completed": 3}, **of), {})
    assert whole is not None
    assert whole.note is not None
    assert whole.note.level is Level.SUCCESS


def test_late_webhooks_are_told_once_a_day() -> None:
    """Any number of batches of a day are one incident, of the schedule of their run."""
    late = [event(n, "batch.webhook_late", "news", batch=f"b{n}") for n in (1, 2)]
    tomorrow = {**late[0], "id": 3, "occurred_at": WHEN + timedelta(days=1)}
    assert told(*late, tomorrow) == [("The webhook of batch b1 did not come", True)] * 2
    report = report_of({**late[0], "run_id": RUN}, {RUN: RunFacts(schedule="s")})
    assert report is not None
    assert report.schedule == "s"


def test_rules() -> None:
    """A destination hears of its kinds, of its schedules, and of nothing before it was added."""
    failed, paused = event(1, "run.failed"), event(2, "schedule.paused", schedule="s")
    assert len(told(failed, paused)) == 2
    assert len(told(failed, paused, events=["schedule.paused"])) == 1
    assert len(told(failed, paused, schedules=["s"])) == 1
    assert told(failed, paused, schedules=["other"]) == []
    assert len(told(failed, paused, since_id=1)) == 1
    # A schedule names a destination for itself, whatever the destination's own rules.
    other = Destination("ops", ["run.completed"], ["other"], 0)
    reports = [report_of(failed, {}), report_of(paused, {})]
    made = plan([one for one in reports if one], [other], {}, {"s": ["ops"]})
    assert [one.kind for one in made.new] == ["schedule.paused"]
    facts = {RUN: RunFacts(schedule="s", scheduled_for=WHEN)}
    report = report_of(failed, facts)
    assert report is not None
    assert Destination("ops", None, ["s"], 0).wants(report)
    assert report.note is not None
    assert report.note.facts[0] == "It was scheduled for 2026-11-30 06:00 UTC."


def test_what_is_stored_is_known() -> None:
    """An incident that was stored is not told again; a report that ends it ends the stored one."""
    ops = Destination("ops", None, None, 0)
    again = report_of(event(5, "schedule.paused", schedule="s"), {})
    ends = report_of(event(6, "schedule.resumed", schedule="s"), {})
    assert again is not None
    assert ends is not None
    assert plan([again], [ops], {("ops", again.incident): 11}).new == []
    made = plan([ends], [ops], {("ops", again.incident): 11})
    assert made.ended == [11]
    assert [one.note.level for one in made.new] == [Level.SUCCESS]
    assert plan([ends], [ops], {("other", again.incident): 12}).new == []


def test_ids_are_stable() -> None:
    """The same event makes the same id, and every destination and stage another one."""
    reports = [report_of(event(1, "run.failed"), {}), report_of(event(2, "run.completed"), {})]
    both = [Destination(name, None, None, 0) for name in ("a", "b")]
    first, second = (plan([one for one in reports if one], both, {}).new for _ in range(2))
    assert [one.id for one in first] == [one.id for one in second]
    assert len({one.id for one in first}) == 4


def test_chosen_kinds() -> None:
    """``usual`` and ``all`` are sets, names add to them, and an unknown name is refused."""
    assert kinds.chosen(None) is None
    assert kinds.chosen(["usual", "run.completed"]) == [*kinds.usual(), "run.completed"]
    assert kinds.chosen(["all", "run.failed"]) == list(kinds.KINDS)
    with pytest.raises(UserError, match=r"--event 'run.fail': must be one of usual, all, run"):
        kinds.chosen(["run.fail"])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)
_KEYS = st.sampled_from(
    ["schedule", "reason", "error", "scheduled_for", "fresh_until", "first", "last", "slots",
     "summary", "provider", "scope", "spent", "limit", "content_type", "content_types",
     "backfill", "batch"]
)  # fmt: skip


@given(st.sampled_from(sorted(_REPORTS)), st.dictionaries(_KEYS, _JSON))
def test_any_detail(kind: str, detail: dict[str, Any]) -> None:
    """No detail of an event raises, and every note of it can be stored and read."""
    report = report_of(event(1, kind, **detail), {})
    assert report is not None
    for note in (report.note, report.ending):
        if note is not None:
            assert Note.from_json(note.to_json()) == note
            assert len(note.headline) < 1000
            assert "\n" not in note.headline + "".join(note.facts)


def test_outside_text() -> None:
    """Outside text is one bounded line that notifies nobody in a chat."""
    assert clean("a\n\x1b[31m b\x00") == "a [31m b\ufffd"
    assert clean("@Everyone <!here> a@b.example") == "@\u200bEveryone <\u200b!here> a@b.example"
    assert len(clean("x" * 9000)) == 500
    assert when("2200-02-30") == "2200-02-30"
    assert when("0001-01-01T00:00:00+14:00") == "0001-01-01T00:00:00+14:00"
