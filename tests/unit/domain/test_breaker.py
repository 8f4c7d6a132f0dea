"""The circuit breaker as a pure machine."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from serpline.domain.breaker import (
    Breaker,
    Decision,
    Report,
    ReportKind,
    close_if_probed,
    decide,
    isolate,
    record,
    reset,
)
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import UserError
from serpline.domain.states import BREAKER_MACHINE, BreakerEvent, BreakerState

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MIDDLE = 0.5  # of the jitter: exactly the configured time-out


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def report(
    kind: ReportKind,
    breaker: Breaker,
    seconds: float = 0,
    permit: str | None = None,
    count: int = 1,
) -> Report:
    return Report(kind, at(seconds), breaker.generation, permit, count)


def fail(breaker: Breaker, settings: BreakerSettings, times: int, seconds: float = 0) -> Breaker:
    for _ in range(times):
        breaker = record(
            breaker, settings, report(ReportKind.FAILURE, breaker, seconds), MIDDLE
        ).breaker
    return breaker


def ask(
    breaker: Breaker,
    settings: BreakerSettings,
    seconds: float,
    permit: str,
    call_seconds: float = 20,
) -> tuple[Breaker, Decision]:
    step, decision = decide(
        breaker,
        settings,
        now=at(seconds),
        lease_now=at(seconds),
        permit_id=permit,
        call_seconds=call_seconds,
    )
    return step.breaker, decision


def test_opens_at_exactly_the_threshold() -> None:
    """One failure short of the threshold the breaker is closed; at the threshold it is open."""
    settings = BreakerSettings(failure_threshold=3)
    nearly = fail(Breaker(), settings, 2)
    assert nearly.state is BreakerState.CLOSED
    opened = fail(nearly, settings, 1)
    assert (opened.state, opened.failure_count) == (BreakerState.OPEN, 3)
    assert opened.open_until == at(60)


def test_a_report_is_of_one_call() -> None:
    """A report counts as one call by default."""
    settings = BreakerSettings(failure_threshold=10)
    for given, count in (({}, 1), ({"count": 3}, 3)):
        one = Report(ReportKind.FAILURE, START, 0, **given)
        assert record(Breaker(), settings, one, MIDDLE).breaker.failure_count == count


def test_a_success_resets_the_count() -> None:
    """Only consecutive failures count towards the threshold."""
    settings = BreakerSettings(failure_threshold=3, rate_calls_min=1000)
    breaker = fail(Breaker(), settings, 2, 0)
    breaker = record(breaker, settings, report(ReportKind.SUCCESS, breaker, 1), MIDDLE).breaker
    assert fail(breaker, settings, 2, 2).state is BreakerState.CLOSED


def test_a_late_success_resets_only_earlier_failures() -> None:
    """A success at 5 s, reported after a failure at 9 s, leaves that failure counted."""
    settings = BreakerSettings(failure_threshold=3)
    breaker = fail(fail(Breaker(), settings, 1, 1), settings, 1, 9)
    breaker = record(breaker, settings, report(ReportKind.SUCCESS, breaker, 5), MIDDLE).breaker
    assert breaker.recent.failure_times == (at(9),)


def test_three_failures_to_one_success_open_by_call_twenty() -> None:
    """The rate opens a breaker that consecutive failures alone would not open."""
    settings = BreakerSettings(failure_threshold=10)
    breaker, calls = Breaker(), 0
    while breaker.state is BreakerState.CLOSED:
        kind = ReportKind.SUCCESS if calls % 4 == 3 else ReportKind.FAILURE
        breaker = record(breaker, settings, report(kind, breaker, calls), MIDDLE).breaker
        calls += 1
    assert 20 <= calls <= 21


def test_the_rate_drops_calls_older_than_its_window() -> None:
    """Nineteen failures a window ago do not open the breaker with one more today."""
    settings = BreakerSettings(failure_threshold=1000, rate_calls_min=20)
    breaker = fail(Breaker(), settings, 19, 0)
    assert fail(breaker, settings, 1, 61).state is BreakerState.CLOSED
    assert fail(breaker, settings, 1, 10).state is BreakerState.OPEN


def test_the_rate_keeps_one_window_in_twelve_buckets() -> None:
    """A call that ended 50 s ago counts in any window of 60 s. A day's calls take no more room than
    a minute's."""
    settings = BreakerSettings(failure_threshold=1000, rate_calls_min=20)
    for seconds in range(0, 60, 7):
        breaker = fail(Breaker(), settings, 19, seconds)
        assert fail(breaker, settings, 1, seconds + 50).state is BreakerState.OPEN
        assert fail(breaker, settings, 1, seconds + 66).state is BreakerState.CLOSED
    breaker = Breaker()
    for minute in range(1_440):
        one = report(ReportKind.SUCCESS, breaker, minute * 0.9)
        breaker = record(breaker, settings, one, MIDDLE).breaker
    assert len(breaker.recent.buckets) == 12


def test_probes_are_as_many_as_successes_are_missing() -> None:
    """Half-open lets through exactly ``success_threshold`` probes, and closes at the last."""
    settings = BreakerSettings(failure_threshold=1, success_threshold=2)
    breaker = fail(Breaker(), settings, 1)
    breaker, refused = ask(breaker, settings, 59.9, "early")
    assert (refused.allowed, refused.until) == (False, at(60))
    breaker, first = ask(breaker, settings, 60, "a")
    breaker, second = ask(breaker, settings, 60, "b")
    breaker, third = ask(breaker, settings, 60, "c")
    assert [first.allowed, second.allowed, third.allowed] == [True, True, False]
    for permit in ("a", "b"):
        assert breaker.state is BreakerState.HALF_OPEN
        breaker = record(
            breaker, settings, report(ReportKind.SUCCESS, breaker, 61, permit), MIDDLE
        ).breaker
    assert (breaker.state, breaker.failure_count) == (BreakerState.CLOSED, 0)


def test_a_lost_permit_is_given_again() -> None:
    """A probe whose worker died blocks the breaker no longer than the permit's lease."""
    settings = BreakerSettings(failure_threshold=1, success_threshold=1, permit_seconds=30)
    breaker, first = ask(fail(Breaker(), settings, 1), settings, 60, "dead")
    breaker, waiting = ask(breaker, settings, 89, "x")
    assert (first.allowed, waiting.allowed, waiting.until) == (True, False, at(90))
    breaker, again = ask(breaker, settings, 90, "alive")
    assert again.allowed
    late = record(breaker, settings, report(ReportKind.SUCCESS, breaker, 91, "dead"), MIDDLE)
    assert late.breaker == breaker


def test_a_permit_lasts_as_long_as_its_call_may() -> None:
    """If the settings fix the lease, it has exactly that length."""
    chosen = BreakerSettings(failure_threshold=1, success_threshold=2)
    for settings, seconds in ((chosen, 360), (replace(chosen, permit_seconds=30), 30)):
        breaker, _ = ask(fail(Breaker(), settings, 1), settings, 60, "a", call_seconds=360)
        assert [permit.expires_at for permit in breaker.permits] == [at(60 + seconds)]


def test_a_refused_probe_is_tried_again_after_ten_seconds() -> None:
    """A permit lent for six minutes may come back early without a wake-up."""
    settings = BreakerSettings(failure_threshold=1, success_threshold=1)
    breaker, _ = ask(fail(Breaker(), settings, 1), settings, 60, "a", call_seconds=360)
    assert ask(breaker, settings, 61, "b")[1].until == at(71)
    assert ask(breaker, settings, 415, "b")[1].until == at(420)


@pytest.mark.parametrize("given_again", [False, True])
def test_a_probe_that_fails_after_its_lease_reopens_it(given_again: bool) -> None:
    """A hanging provider outlasts any lease. Its timeouts still double the time open."""
    settings = BreakerSettings(failure_threshold=1, success_threshold=1)
    breaker, _ = ask(fail(Breaker(), settings, 1), settings, 60, "hung")
    if given_again:
        breaker, _ = ask(breaker, settings, 90, "next")
        assert [permit.id for permit in breaker.permits] == ["next"]
    step = record(breaker, settings, report(ReportKind.FAILURE, breaker, 100, "hung"), MIDDLE)
    assert step.event is BreakerEvent.RELAPSED
    assert step.breaker.open_until == at(100 + 120)


def test_half_open_ignores_reports_without_a_permit() -> None:
    """A failure without a permit was no probe."""
    settings = BreakerSettings(failure_threshold=1)
    breaker, _ = ask(fail(Breaker(), settings, 1), settings, 60, "a")
    unasked = record(breaker, settings, report(ReportKind.FAILURE, breaker, 61), MIDDLE)
    assert unasked.breaker == breaker


def half_open(settings: BreakerSettings, *permits: str) -> Breaker:
    """Half-open at 60 s, with these probes in flight."""
    breaker = fail(Breaker(), settings, settings.failure_threshold)
    for permit in permits:
        breaker, _ = ask(breaker, settings, 60, permit)
    return breaker


def test_a_lowered_success_threshold_closes_it() -> None:
    """One good probe of two, then one is enough: it closes, because no probe is missing."""
    settings = BreakerSettings(failure_threshold=1, success_threshold=2)
    breaker = half_open(settings, "a")
    good = report(ReportKind.SUCCESS, breaker, 61, "a")
    breaker = record(breaker, settings, good, MIDDLE).breaker
    same = close_if_probed(breaker, replace(settings, success_threshold=3))
    assert (same.event, same.breaker) == (None, breaker)
    fewer = replace(settings, success_threshold=1)
    step = close_if_probed(breaker, fewer)
    assert (step.event, step.breaker.state) == (BreakerEvent.RECOVERED, BreakerState.CLOSED)
    assert step.breaker.generation == breaker.generation + 1
    # The next caller also closes it, because another release's code may need fewer.
    asked, decision = ask(breaker, fewer, 62, "b")
    assert (asked, decision) == (step.breaker, Decision(True, asked.generation))


def test_probes_in_flight_keep_their_permits_when_fewer_are_needed() -> None:
    """No new call passes, and the first probe to succeed closes it."""
    settings = BreakerSettings(failure_threshold=1, success_threshold=3)
    fewer = replace(settings, success_threshold=1)
    breaker = half_open(settings, "a", "b", "c")
    breaker, refused = ask(breaker, fewer, 61, "d")
    assert (refused.allowed, len(breaker.permits)) == (False, 3)
    good = report(ReportKind.SUCCESS, breaker, 62, "b")
    assert record(breaker, fewer, good, MIDDLE).event is BreakerEvent.RECOVERED


def test_a_lower_threshold_opens_it_at_the_next_failure() -> None:
    """A change of settings opens nothing by itself. A success still resets the count."""
    settings = BreakerSettings(failure_threshold=5)
    stricter = replace(settings, failure_threshold=2)
    breaker = fail(Breaker(), settings, 4)
    asked, decision = ask(breaker, stricter, 0, "a")
    assert (asked, decision.allowed) == (breaker, True)
    assert fail(breaker, stricter, 1).state is BreakerState.OPEN
    well = record(breaker, stricter, report(ReportKind.SUCCESS, breaker, 1), MIDDLE).breaker
    assert fail(well, stricter, 1, 2).state is BreakerState.CLOSED


@pytest.mark.parametrize("window", [30, 59, 61, 3600])
def test_another_window_counts_from_nothing(window: float) -> None:
    """Buckets of a minute do not count for an hour. Consecutive failures stay. If only
    ``rate_calls_min`` changes, the buckets stay too."""
    settings = BreakerSettings(failure_threshold=1000, rate_calls_min=20)
    breaker = fail(Breaker(), settings, 19)
    other = replace(settings, rate_window_seconds=window)
    assert fail(breaker, other, 1).failure_count == 20
    assert fail(breaker, other, 19).state is BreakerState.CLOSED
    assert fail(breaker, other, 20).state is BreakerState.OPEN
    assert fail(breaker, replace(settings, rate_calls_min=21), 2).state is BreakerState.OPEN


def test_how_long_it_stays_open_is_not_changed_afterwards() -> None:
    """Waiting callers already have its end."""
    settings = BreakerSettings(failure_threshold=1)
    opened = fail(Breaker(), settings, 1)
    asked, refused = ask(opened, replace(settings, timeout_seconds=1), 30, "a")
    assert (asked, refused.allowed, refused.until) == (opened, False, at(60))


def test_a_cancelled_probe_gives_its_permit_back() -> None:
    """Cancellation neither closes nor opens: the next caller gets the permit."""
    settings = BreakerSettings(failure_threshold=1, success_threshold=1)
    breaker, _ = ask(fail(Breaker(), settings, 1), settings, 60, "a")
    breaker = record(
        breaker, settings, report(ReportKind.CANCELLED, breaker, 61, "a"), MIDDLE
    ).breaker
    assert (breaker.state, breaker.permits) == (BreakerState.HALF_OPEN, ())
    assert ask(breaker, settings, 61, "b")[1].allowed


def test_relapses_double_the_time_open_up_to_the_cap() -> None:
    """60 s, 120 s, 240 s, then the cap. After recovery it starts again at 60 s."""
    settings = BreakerSettings(failure_threshold=1, success_threshold=1, timeout_seconds_max=300)
    breaker, now, waits = fail(Breaker(), settings, 1), 0.0, []
    for number in range(4):
        assert breaker.open_until is not None
        until = (breaker.open_until - START).total_seconds()
        waits.append(until - now)
        now = until
        breaker, decision = ask(breaker, settings, now, str(number))
        kind = ReportKind.SUCCESS if number == 3 else ReportKind.FAILURE
        breaker = record(
            breaker, settings, report(kind, breaker, now, decision.permit), MIDDLE
        ).breaker
    assert waits == [60, 120, 240, 300]
    again = fail(breaker, settings, 1, now)
    assert again.open_until == at(now + 60)


HOUR = 3600


def test_a_clock_set_back_leaves_it_open_as_long_as_intended() -> None:
    """After an hour back, it is open for its intended time from then on, under any settings."""
    settings = BreakerSettings(failure_threshold=1, timeout_seconds=60)
    opened = fail(Breaker(), settings, 1)
    for later in (settings, replace(settings, timeout_seconds=1)):
        breaker, refused = ask(opened, later, -HOUR, "a")
        assert (refused.allowed, breaker.open_until) == (False, at(60 - HOUR))
        assert not ask(breaker, later, 59 - HOUR, "b")[1].allowed
        assert ask(breaker, later, 60 - HOUR, "c")[1].allowed
    # Clocks may differ by five seconds.
    for seconds, until in ((-4, 60), (-6, 54)):
        assert ask(opened, settings, seconds, "d")[0].open_until == at(until)


def test_a_clock_set_back_keeps_no_permit_for_an_hour() -> None:
    """Another probe replaces one lost in a crash after the length of its lease."""
    settings = BreakerSettings(failure_threshold=1, success_threshold=1, permit_seconds=30)
    breaker, _ = ask(fail(Breaker(), settings, 1), settings, 60, "lost")
    breaker, refused = ask(breaker, settings, 60 - HOUR, "a")
    assert not refused.allowed
    assert not ask(breaker, settings, 89 - HOUR, "b")[1].allowed
    assert ask(breaker, settings, 90 - HOUR, "c")[1].allowed


@pytest.mark.parametrize("before", [ReportKind.SUCCESS, ReportKind.FAILURE])
def test_a_clock_set_back_drops_future_calls_only(before: ReportKind) -> None:
    """Calls recorded in the repeated hour do not count. Calls from then on do."""
    settings = BreakerSettings(failure_threshold=3, rate_calls_min=20)
    breaker = Breaker()
    for _ in range(2):
        breaker = record(breaker, settings, report(before, breaker, 0), MIDDLE).breaker
    assert fail(breaker, settings, 2, -HOUR).state is BreakerState.CLOSED
    assert fail(breaker, settings, 3, -HOUR).state is BreakerState.OPEN
    # A report less than two minutes late belongs to the present.
    is_well = before is ReportKind.SUCCESS
    assert fail(breaker, settings, 1, -110).failure_count == (0 if is_well else 3)
    assert fail(breaker, settings, 1, -130).failure_count == 1


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 54), (0.5, 60), (1.0, 66)])
def test_the_time_open_is_jittered_by_a_tenth(chance: float, seconds: float) -> None:
    """Breakers that opened together do not all probe together."""
    assert BreakerSettings().open_seconds(0, chance) == pytest.approx(seconds)


def test_any_number_of_relapses_opens_for_the_cap() -> None:
    """A provider that has been down for a year does not overflow the doubling."""
    settings = BreakerSettings(timeout_seconds=0.001, timeout_seconds_max=86_400)
    assert [settings.open_seconds(n, MIDDLE) for n in (10, 26)] == [
        1.024,
        pytest.approx(67_108.864),
    ]
    assert {settings.open_seconds(n, MIDDLE) for n in (30, 1_000_000)} == {86_400}


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("failure_threshold", 1_000),
        ("success_threshold", 1_000),
        ("rate_calls_min", 1_000_000),
        ("rate_threshold", 1),
        ("timeout_seconds", 86_400),
        ("timeout_seconds_max", 86_400),
        ("rate_window_seconds", 86_400),
        ("permit_seconds", 86_400),
    ],
)
def test_settings_have_a_maximum(name: str, most: int) -> None:
    """A day is the longest time. A longer one is refused by name."""
    assert getattr(BreakerSettings(**{name: most}), name) == most  # type: ignore[arg-type]  # by name
    with pytest.raises(UserError, match=f"^{name}={most + 1}: must be"):
        BreakerSettings(**{name: most + 1})  # type: ignore[arg-type]  # wrong on purpose


def test_an_ordinary_breaker_opens_after_five_failures_and_closes_after_two_probes() -> None:
    """By default it opens for a minute."""
    settings = BreakerSettings()
    nearly = fail(Breaker(), settings, 4)
    assert nearly.state is BreakerState.CLOSED
    breaker = fail(nearly, settings, 1)
    assert (breaker.state, breaker.open_until) == (BreakerState.OPEN, at(60))
    for permit in ("a", "b"):
        breaker, decision = ask(breaker, settings, 60, permit)
        assert decision.allowed
        one = report(ReportKind.SUCCESS, breaker, 61, permit)
        breaker = record(breaker, settings, one, MIDDLE).breaker
    assert breaker.state is BreakerState.CLOSED


def test_reports_from_before_a_transition_are_ignored() -> None:
    """A call from before the breaker opened and closed again cannot reopen it."""
    settings = BreakerSettings(failure_threshold=1, success_threshold=1)
    old = Breaker()
    breaker, decision = ask(fail(old, settings, 1), settings, 60, "a")
    breaker = record(
        breaker, settings, report(ReportKind.SUCCESS, breaker, 61, decision.permit), MIDDLE
    ).breaker
    assert breaker.state is BreakerState.CLOSED
    assert record(breaker, settings, report(ReportKind.FAILURE, old, 62), MIDDLE).breaker == breaker


def test_isolated_until_reset() -> None:
    """An isolated breaker refuses calls until a person resets it."""
    breaker = isolate(Breaker()).breaker
    assert not ask(breaker, BreakerSettings(), 1e9, "a")[1].allowed
    assert isolate(breaker).event is None
    step = reset(breaker)
    assert (step.event, step.breaker.state) == (BreakerEvent.RESET, BreakerState.CLOSED)


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure_threshold": 0},
        {"failure_threshold": 1001},
        {"success_threshold": 0},
        {"timeout_seconds": 0},
        {"timeout_seconds": float("nan")},
        {"rate_threshold": 0},
        {"rate_threshold": 1.5},
        {"rate_calls_min": 0},
        {"failure_threshold": 2.5},
        {"success_threshold": True},
        {"timeout_seconds_max": 1e300},
        {"timeout_seconds_max": float("nan")},
        {"permit_seconds": -1},
    ],
)
def test_impossible_settings_are_named(wrong: dict[str, float]) -> None:
    """A breaker that could never open or never close is refused, by key and value."""
    (name,) = wrong
    with pytest.raises(UserError, match=f"^{name}="):
        BreakerSettings(**wrong)  # type: ignore[arg-type]  # wrong on purpose


class BreakerMachine(RuleBasedStateMachine):
    """Checks the module's promises with random callers, outcomes, crashes and times."""

    @initialize(
        failures=st.integers(1, 6),
        successes=st.integers(1, 4),
        calls=st.integers(1, 30),
        share=st.floats(0.05, 1.0),
    )
    def start(self, failures: int, successes: int, calls: int, share: float) -> None:
        self.settings = BreakerSettings(
            failure_threshold=failures,
            success_threshold=successes,
            timeout_seconds=10,
            timeout_seconds_max=40,
            rate_calls_min=calls,
            rate_threshold=share,
            permit_seconds=20,
        )
        self.breaker = Breaker()
        self.now = 0.0
        self.in_flight: list[Decision] = []
        self.consecutive = 0
        self.threshold_max = failures
        self.counted_window = self.settings.rate_window_seconds
        self.probe_wins = 0
        self.number = 0

    @rule(seconds=st.floats(0, 30))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        before = self.breaker
        self.number += 1
        self.breaker, decision = ask(before, self.settings, self.now, str(self.number))
        if before.open_until is not None and at(self.now) < before.open_until:
            assert not decision.allowed
        if before.state is BreakerState.ISOLATED:
            assert not decision.allowed
        if before.state is BreakerState.CLOSED:
            assert decision.allowed
        if before.state is BreakerState.OPEN and self.breaker.state is BreakerState.HALF_OPEN:
            self.probe_wins = 0
        if decision.allowed:
            self.in_flight.append(decision)
            if self.breaker.state is BreakerState.HALF_OPEN:
                missing = self.settings.success_threshold - self.breaker.probe_successes
                assert len(self.breaker.permits) <= missing

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), kind=st.sampled_from(ReportKind), chance=st.floats(0, 1))
    def end(self, data: st.DataObject, kind: ReportKind, chance: float) -> None:
        decision = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        before = self.breaker
        current = decision.generation == before.generation
        valid = decision.permit in {permit.id for permit in before.permits}
        step = record(
            before,
            self.settings,
            Report(kind, at(self.now), decision.generation, decision.permit),
            chance,
        )
        self.breaker = step.breaker
        if not current or kind is ReportKind.CANCELLED:
            assert step.event is None
        elif before.state is BreakerState.CLOSED:
            self.check_memory(step.breaker, kind)
            self.consecutive = 0 if kind is ReportKind.SUCCESS else self.consecutive + 1
            if self.consecutive >= self.settings.failure_threshold:
                assert step.event is BreakerEvent.TRIPPED
            if kind is ReportKind.SUCCESS:
                assert step.event is None
        elif before.state is BreakerState.HALF_OPEN:
            self.probe_wins += valid and kind is ReportKind.SUCCESS
            enough = valid and self.probe_wins == self.settings.success_threshold
            if kind is ReportKind.FAILURE:
                assert step.event is BreakerEvent.RELAPSED
            else:
                assert (step.event is BreakerEvent.RECOVERED) == enough
        if step.event is not None:
            self.consecutive = 0
            assert BREAKER_MACHINE[before.state, step.event] is self.breaker.state

    def check_memory(self, after: Breaker, kind: ReportKind) -> None:
        """A failure trims to the current threshold. A changed window has only the new bucket."""
        window = self.settings.rate_window_seconds
        if kind is ReportKind.FAILURE:
            assert after.failure_count <= self.settings.failure_threshold
        if window != self.counted_window:
            assert len(after.recent.buckets) == 1
        self.counted_window = window

    @rule(
        failures=st.integers(1, 6),
        successes=st.integers(1, 4),
        calls=st.integers(1, 30),
        window=st.sampled_from([30.0, 60.0]),
        permit=st.sampled_from([None, 5.0, 20.0]),
    )
    def change_settings(
        self, failures: int, successes: int, calls: int, window: float, permit: float | None
    ) -> None:
        before, old = self.breaker, self.settings
        self.settings = replace(
            old,
            failure_threshold=failures,
            success_threshold=successes,
            rate_calls_min=calls,
            rate_window_seconds=window,
            permit_seconds=permit,
        )
        self.threshold_max = max(self.threshold_max, failures)
        step = close_if_probed(before, self.settings)
        self.breaker = step.breaker
        closes = before.state is BreakerState.HALF_OPEN and self.probe_wins >= successes
        assert (step.event is BreakerEvent.RECOVERED) == closes
        if step.event is not None:
            self.consecutive = 0
            assert BREAKER_MACHINE[before.state, step.event] is self.breaker.state
        else:
            assert self.breaker == before

    @precondition(lambda self: self.in_flight)
    @rule()
    def crash(self) -> None:
        self.in_flight.clear()

    @rule()
    def isolate_by_hand(self) -> None:
        self.breaker = isolate(self.breaker).breaker
        self.consecutive = 0

    @rule()
    def reset_by_hand(self) -> None:
        self.breaker = reset(self.breaker).breaker
        self.consecutive = 0

    @invariant()
    def half_open_ends_at_the_last_success(self) -> None:
        breaker = self.breaker
        if breaker.state is BreakerState.HALF_OPEN:
            assert breaker.probe_successes < self.settings.success_threshold
        else:
            assert not breaker.permits

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.breaker.recent.failure_times) <= self.threshold_max
        assert len(self.breaker.recent.buckets) <= 12

    @invariant()
    def it_can_always_recover(self) -> None:
        """From every state, time and good probes alone close it."""
        breaker, now = self.breaker, self.now + 100.0
        if breaker.state is BreakerState.ISOLATED:
            return
        for number in range(self.settings.success_threshold):
            breaker, decision = ask(breaker, self.settings, now, f"probe {number}")
            assert decision.allowed
            breaker = record(
                breaker,
                self.settings,
                Report(ReportKind.SUCCESS, at(now), decision.generation, decision.permit),
                MIDDLE,
            ).breaker
        assert breaker.state is BreakerState.CLOSED


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = hypothesis_settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
