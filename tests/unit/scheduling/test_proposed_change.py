"""Changes of specifications: each kind, for one content type only, and when nothing is left."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from serpline.domain.schedules import ProposalKind
from serpline.scheduling.adjustment import Factor, Observation, Pattern, Table, Trouble
from serpline.scheduling.documents import specs_from_json
from serpline.scheduling.proportions import Counts
from serpline.scheduling.proposed_change import apply_change, change_for

MONDAY = datetime(2026, 1, 5)  # noqa: DTZ001  wall time
NEWS = {"content_type": "news", "frequency": "daily", "time_of_day": "06:30"}


def _pattern(factor: Factor, level: int | str, provider: str | None = None) -> Pattern:
    table = Table(Trouble.FAILED, factor, level, Counts(7, 7), Counts(0, 21), provider)
    return Pattern(table, 1e-6, 3, 4, 0.001)


def _slots(hours: Sequence[int]) -> list[Observation]:
    return [
        Observation(MONDAY + timedelta(days=day, hours=hour), failed=False, late=False)
        for day in range(3)
        for hour in hours
    ]


def _changed(
    pattern: Pattern, documents: Sequence[Mapping[str, Any]], hours: Sequence[int] = (6, 18)
) -> tuple[ProposalKind, list[Mapping[str, Any]]]:
    change = change_for(pattern, "news", documents, _slots(hours))
    changed = apply_change(documents, "news", change.kind, change.values)
    specs_from_json([dict(one) for one in changed])  # They are valid.
    # Accepted once, there is nothing left to change.
    assert apply_change(changed, "news", change.kind, change.values) is None
    return change.kind, changed


def test_an_hour_moves_to_the_next_free_one() -> None:
    """Slots at 06:30 move to 08:30, because the type has slots at 07:00."""
    evening = {**NEWS, "time_of_day": "18:00"}
    kind, changed = _changed(_pattern(Factor.HOUR, 6), [NEWS, evening], (6, 7, 18))
    assert kind is ProposalKind.LATER_HOUR
    assert changed == [{**NEWS, "time_of_day": "08:30"}, evening]


def test_only_one_content_type_changes() -> None:
    """A specification of two types is divided; the other type keeps every key."""
    both = {"content_types": ["organic", "news"], "frequency": "daily", "priority": "low"}
    _, changed = _changed(_pattern(Factor.HOUR, 0), [both], (0, 12))
    assert changed == [
        {"content_type": "organic", "frequency": "daily", "priority": "low"},
        {"content_type": "news", "frequency": "daily", "priority": "low", "time_of_day": "01:00"},
    ]


def test_hours_of_a_cron_list_move() -> None:
    """One number of the list changes; the rest of the expression stays."""
    cron = {"content_type": "news", "frequency": "cron", "cron": "15 06,12,18 * * 1-5"}
    _, changed = _changed(_pattern(Factor.HOUR, 6), [cron], (6, 12, 18))
    assert changed == [{**cron, "cron": "15 7,12,18 * * 1-5"}]


@pytest.mark.parametrize(
    "spec",
    [
        {"content_type": "news", "frequency": "interval", "interval": "6h"},
        {"content_type": "news", "frequency": "cron", "cron": "0 */6 * * *"},
    ],
)
def test_what_cannot_move_is_spread(spec: dict[str, Any]) -> None:
    """An interval has no hour to move: its starts are spread, over half a step at most."""
    kind, changed = _changed(_pattern(Factor.HOUR, 6), [spec], (0, 6, 12, 18))
    assert (kind, changed) == (ProposalKind.SPREAD, [{**spec, "jitter": 7200}])
    _, changed = _changed(_pattern(Factor.HOUR, 6), [spec], (0, 1, 2))
    assert changed == [{**spec, "jitter": 1800}]


def test_the_last_hour_of_the_day_is_spread() -> None:
    """A later hour would be another day."""
    late = {**NEWS, "time_of_day": "23:00"}
    assert _changed(_pattern(Factor.HOUR, 23), [late], (11, 23))[0] is ProposalKind.SPREAD


def test_a_weekday_gets_a_later_time_of_its_own() -> None:
    """The other days keep theirs."""
    kind, changed = _changed(_pattern(Factor.WEEKDAY, 7), [NEWS])
    assert kind is ProposalKind.LATER_HOUR
    others = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
    assert changed == [
        {**NEWS, "days_of_week": others},
        {**NEWS, "days_of_week": ["sunday"], "time_of_day": "09:30"},
    ]


def test_batches_become_smaller() -> None:
    """A specification without a size, or with a larger one, gets the size."""
    small = {**NEWS, "time_of_day": "18:00", "batch_size": 1000}
    kind, changed = _changed(
        _pattern(Factor.BATCH_SIZE, 5_000, "scale_serp_api"),
        [NEWS, {**NEWS, "batch_size": "unlimited"}, small],
    )
    assert kind is ProposalKind.SMALLER_BATCHES
    assert [one["batch_size"] for one in changed] == [5_000, 5_000, 1_000]


def test_errors_of_a_provider_raise_the_priority() -> None:
    """One step; at the highest, the starts are spread."""
    kind, changed = _changed(_pattern(Factor.PROVIDER, "llm"), [NEWS])
    assert (kind, changed) == (ProposalKind.PRIORITY, [{**NEWS, "priority": "high"}])
    critical = {**NEWS, "priority": "critical"}
    assert _changed(_pattern(Factor.PROVIDER, "llm"), [critical])[0] is ProposalKind.SPREAD


def test_nothing_to_change_is_no_change() -> None:
    """Small batches, starts that are spread already, a short deadline, a type that is gone."""
    small = {**NEWS, "batch_size": 5_000}
    pattern = _pattern(Factor.BATCH_SIZE, 5_000, "scale_serp_api")
    assert change_for(pattern, "news", [small], _slots((6,))) is None
    spread = {"content_type": "news", "frequency": "interval", "interval": "6h", "jitter": "2h"}
    assert change_for(_pattern(Factor.HOUR, 6), "news", [spread], _slots((0, 6, 12, 18))) is None
    tight = {"content_type": "news", "frequency": "interval", "interval": "6h", "deadline": "2h"}
    assert change_for(_pattern(Factor.HOUR, 6), "news", [tight], _slots((0, 6, 12, 18))) is None
    values = {"hour": 6, "to_hour": 7}
    assert apply_change([NEWS], "video", ProposalKind.LATER_HOUR, values) is None


def test_a_change_that_makes_too_many_specifications_is_none() -> None:
    """A schedule has 50 at most."""
    specs = [
        {"content_types": ["organic", "news"], "frequency": "daily", "time_of_day": f"06:{n:02}"}
        for n in range(26)
    ]
    values = {"hour": 6, "to_hour": 7}
    assert len(apply_change(specs[:25], "news", ProposalKind.LATER_HOUR, values)) == 50
    assert apply_change(specs, "news", ProposalKind.LATER_HOUR, values) is None
