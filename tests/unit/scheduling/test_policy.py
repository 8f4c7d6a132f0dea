"""Properties of the policies: every instant once, by the rule, the same in every process."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serpline.domain.names import ContentType
from serpline.domain.schedules import SlotReason
from serpline.domain.states import SlotOutcome
from serpline.scheduling.occurrences import occurrences
from serpline.scheduling.policy import (
    INSTANTS_MAX,
    ON_TIME_SECONDS,
    Halt,
    Slot,
    Waiting,
    decide,
    jitter,
    judge,
    next_instant,
)
from serpline.scheduling.spec import CATCH_UP_SLOTS_MAX, CatchUpWithin, Overlap, ScheduleSpec

START = datetime(2026, 3, 2, 8, tzinfo=UTC)

_FREQUENCIES = st.one_of(
    st.builds(
        lambda minutes: {"frequency": "interval", "interval": f"{minutes}m"}, st.integers(5, 2_000)
    ),
    st.builds(
        lambda hour, zone: {"frequency": "daily", "time_of_day": f"{hour:02}:30", "timezone": zone},
        st.integers(0, 23),
        st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
    ),
    st.just({"frequency": "cron", "cron": "*/45 * * * *"}),
)
_CATCH_UPS = st.one_of(
    st.sampled_from(["none", "latest", "all"]),
    st.builds(
        lambda hours, most: {"within": f"{hours}h", "max": most},
        st.integers(1, 100),
        st.integers(1, 100),
    ),
)
_KINDS = st.sets(st.sampled_from(["organic", "news", "video"]), min_size=1).map(sorted)


@st.composite
def specs(draw: st.DrawFn) -> ScheduleSpec:
    """A specification with rules for what was missed."""
    given: dict[str, Any] = {
        "content_types": draw(_KINDS),
        "catch_up": draw(_CATCH_UPS),
        "jitter": draw(st.sampled_from([0, 90, 3_600])),
        **draw(_FREQUENCIES),
    }
    if draw(st.booleans()):
        given["deadline"] = draw(st.integers(2, 48)) * 3_600
    return ScheduleSpec.from_json(given)


_SCHEDULES = st.lists(specs(), min_size=1, max_size=3)
_DOWNTIMES = st.integers(0, 6 * 86_400).map(lambda seconds: timedelta(seconds=seconds))


def instants(spec: ScheduleSpec, until: datetime) -> list[datetime]:
    """The instants of a specification since ``START``."""
    found = []
    for each in occurrences(spec, START):
        if each.scheduled_for > until:
            break
        found.append(each.scheduled_for)
    return found


@given(_SCHEDULES, _DOWNTIMES)
def test_every_instant_has_one_slot(schedule: list[ScheduleSpec], gone: timedelta) -> None:
    """One for each content type that is due then; the first specification decides."""
    now = START + gone
    decided = decide("s", schedule, START, now)
    expected: dict[tuple[datetime, str], int] = {}
    for number, spec in enumerate(schedule):
        for instant in instants(spec, now)[:INSTANTS_MAX]:
            for kind in spec.content_types:
                expected.setdefault((instant, kind), number)
    found = {(slot.scheduled_for, str(slot.content_type)): slot.spec_no for slot in decided.slots}
    assert found == expected
    assert len(found) == len(decided.slots)
    assert list(decided.slots) == sorted(decided.slots, key=lambda slot: slot.scheduled_for)
    assert decided.until == now
    assert decided.next_at == next_instant(schedule, now)


@given(_SCHEDULES, _DOWNTIMES, st.integers(1, 9))
def test_portions_decide_alike(
    schedule: list[ScheduleSpec], gone: timedelta, instants_max: int
) -> None:
    """In portions, by any process, every slot is decided as at once."""
    now = START + gone
    at_once = decide("s", schedule, START, now)
    slots: list[Slot] = []
    after = START
    while True:
        portion = decide("s", schedule, after, now, instants_max=instants_max)
        slots += portion.slots
        after = portion.until
        if portion.next_at is None or portion.next_at > now:
            break
    assert slots == list(at_once.slots)
    assert (portion.until, portion.next_at) == (at_once.until, at_once.next_at)


@given(specs(), _DOWNTIMES)
def test_catch_up_starts_its_slots(spec: ScheduleSpec, gone: timedelta) -> None:
    """The newest if it is on time, and of the others those that the rule allows."""
    now = START + gone
    decided = decide("s", [spec], START, now)
    kind = spec.content_types[0]
    slots = [slot for slot in decided.slots if slot.content_type == kind]
    late = [slot for slot in slots if slot.is_caught_up]
    on_time = [slot for slot in slots if not slot.is_caught_up]
    assert on_time in ([], slots[-1:])
    for slot in on_time:
        assert now - slot.scheduled_for <= timedelta(seconds=ON_TIME_SECONDS)
        assert slot.verdict.outcome is SlotOutcome.DUE
    rule = spec.catch_up
    for slot in late:
        newer = sum(other.scheduled_for > slot.scheduled_for for other in slots)
        age = (now - slot.scheduled_for).total_seconds()
        if spec.deadline_seconds is not None and age > spec.deadline_seconds:
            allowed = False
        elif isinstance(rule, CatchUpWithin):
            allowed = age <= rule.within_seconds and newer < rule.slots_max
        else:
            allowed = newer < {"none": 0, "latest": 1, "all": CATCH_UP_SLOTS_MAX}[rule]
        outcome = SlotOutcome.DUE if allowed else SlotOutcome.MISSED
        assert slot.verdict.outcome is outcome, slot


@given(_SCHEDULES, _DOWNTIMES)
def test_a_pause_skips_what_it_stops(schedule: list[ScheduleSpec], gone: timedelta) -> None:
    """Every instant of a paused schedule is skipped; a paused content type leaves the others."""
    now = START + gone
    for slot in decide("s", schedule, START, now, Halt("holidays")).slots:
        assert (slot.verdict.outcome, slot.verdict.code) == (SlotOutcome.SKIPPED, SlotReason.PAUSED)
    free = {
        (slot.scheduled_for, slot.content_type): slot
        for slot in decide("s", schedule, START, now).slots
    }
    for slot in decide("s", schedule, START, now, Halt(None, {ContentType.NEWS: "why"})).slots:
        if slot.content_type is ContentType.NEWS:
            assert slot.verdict.reason == "news was paused: why"
        else:
            assert slot == free[slot.scheduled_for, slot.content_type]


@given(st.text(max_size=9), st.integers(0, 10**9), st.integers(1, 86_400))
def test_jitter(name: str, seconds: int, longest: int) -> None:
    """It is less than asked for, never negative, and the same for the same slot."""
    instant = START + timedelta(seconds=seconds)
    found = jitter(name, "g", instant, longest)
    assert timedelta(0) <= found < timedelta(seconds=longest)
    assert jitter(name, "g", instant, longest) == found


def test_jitter_spreads() -> None:
    """A thousand schedules due at one instant start spread over the whole time."""
    found = [jitter(f"s{n}", "", START, 3_600).total_seconds() for n in range(1_000)]
    for quarter in range(4):
        share = sum(quarter * 900 <= each < (quarter + 1) * 900 for each in found)
        assert 200 < share < 300


@given(
    st.sampled_from(Overlap),
    st.booleans(),
    st.one_of(st.none(), st.integers(-9, 9)),
    st.integers(0, 3),
    st.integers(0, 2),
    st.booleans(),
    st.one_of(st.none(), st.just("why")),
)
def test_a_due_slot(
    overlap: Overlap,
    is_caught_up: bool,
    deadline: int | None,
    running: int,
    ahead: int,
    is_deleted: bool,
    halted: str | None,
) -> None:
    """It starts, waits or ends by the first rule that applies."""
    at = None if deadline is None else START + timedelta(seconds=deadline)
    slot = Waiting(overlap, is_caught_up, at, running, ahead, is_deleted, halted)
    found = judge(slot, START)
    before = (running > 0) + ahead
    if is_deleted or halted is not None:
        assert found.outcome is SlotOutcome.SKIPPED
    elif deadline is not None and deadline < 0:
        assert (found.outcome, found.code) == (SlotOutcome.MISSED, SlotReason.DEADLINE)
    elif overlap is Overlap.ALLOW or before == 0:
        assert found.outcome is SlotOutcome.STARTED
    elif is_caught_up or (overlap is Overlap.BUFFER_ONE and before == 1):
        assert (found.outcome, found.code) == (SlotOutcome.DUE, SlotReason.PREVIOUS_RUN)
    else:
        assert found.outcome is SlotOutcome.SKIPPED
