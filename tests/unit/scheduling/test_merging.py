"""Several specifications as one schedule."""

import json
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.config.run import PipelineConfig
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType, Device
from serpline.scheduling.merging import (
    PREVIEW_MAX,
    due_at,
    due_slots,
    next_due,
    preview,
    run_config,
)
from serpline.scheduling.occurrences import occurrences
from serpline.scheduling.service import run_id_of
from serpline.scheduling.spec import ScheduleSpec


def _spec(**given: Any) -> ScheduleSpec:
    return ScheduleSpec.from_json({"content_type": "news", "frequency": "daily", **given})


NEWS = _spec(time_of_day="09:00", retry_attempts=5)
ORGANIC = _spec(
    content_type="organic", frequency="monthly", day_of_month=1, time_of_day="09:00", batch_size=500
)
JANUARY = datetime(2026, 1, 30, 12, tzinfo=UTC)


def test_types_due_at_the_same_instant_share_a_row() -> None:
    """News is due daily; on the first of the month organic joins it."""
    assert [
        (row["scheduled_for"], row["local"], row["content_types"], row["note"])
        for row in preview([NEWS, ORGANIC], 3, JANUARY)
    ] == [
        ("2026-01-31T09:00:00+00:00", "2026-01-31T09:00:00+00:00", ["news"], None),
        ("2026-02-01T09:00:00+00:00", "2026-02-01T09:00:00+00:00", ["organic", "news"], None),
        ("2026-02-02T09:00:00+00:00", "2026-02-02T09:00:00+00:00", ["news"], None),
    ]


def test_a_row_shows_the_due_specifications() -> None:
    """Settings without an effect yet are shown too; the row reads back like the file."""
    spec = _spec(overlap="allow", catch_up={"within": "1d"}, jitter="5m", deadline="2h")
    (row,) = preview([spec], 1, JANUARY)
    assert [ScheduleSpec.from_json(one) for one in row["specs"]] == [spec]
    assert row["specs"][0]["catch_up"] == {"within": 86_400, "max": 100}
    assert (row["specs"][0]["jitter"], row["specs"][0]["deadline"]) == (300, 7200)


def test_the_same_instant_in_two_zones_is_one_row() -> None:
    """18:00 in Berlin and 12:00 in New York are one instant, shown in the first one's zone."""
    berlin = _spec(timezone="Europe/Berlin", time_of_day="18:00")
    york = _spec(content_type="video", timezone="America/New_York", time_of_day="12:00")
    (row,) = preview([york, berlin], 1, JANUARY)
    assert row["content_types"] == ["news", "video"]
    assert row["local"] == "2026-01-30T12:00:00-05:00"
    # For three weeks of March only New York has summer time.
    march = datetime(2026, 3, 10, tzinfo=UTC)
    assert [len(one["content_types"]) for one in preview([york, berlin], 4, march)] == [1, 1, 1, 1]


def test_one_instant_keeps_the_notes_of_all() -> None:
    """Equal notes appear once, different ones one after the other."""
    specs = [
        _spec(timezone="Europe/Berlin", time_of_day="02:30"),
        _spec(content_type="video", timezone="Europe/Berlin", time_of_day="02:30"),
        _spec(content_type="organic", timezone="Europe/Paris", time_of_day="02:10"),
    ]
    (row,) = preview(specs, 1, datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert row["content_types"] == ["organic", "news", "video"]
    assert row["note"].count("does not exist in Europe/Berlin") == 1
    assert row["note"].count("does not exist in Europe/Paris") == 1


_hours = st.integers(0, 23).map(lambda hour: f"{hour:02}:00")
_specs = st.lists(
    st.one_of(
        st.builds(lambda at: _spec(time_of_day=at), _hours),
        st.builds(
            lambda at, zone: _spec(content_type="video", time_of_day=at, timezone=zone),
            _hours,
            st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kathmandu"]),
        ),
        st.builds(
            lambda day: _spec(content_type="organic", frequency="monthly", day_of_month=day),
            st.integers(1, 31),
        ),
    ),
    min_size=1,
    max_size=4,
)


@given(_specs, st.integers(0, 366 * 86_400))
def test_merging_loses_and_doubles_nothing(specs: list[ScheduleSpec], seconds: int) -> None:
    """Every occurrence of every specification is in exactly one row; rows strictly increase."""
    after = JANUARY + timedelta(seconds=seconds)
    rows = list(islice(due_slots(specs, after), 20))
    instants = [row.scheduled_for for row in rows]
    assert instants == sorted(set(instants))
    for spec in specs:
        own = [row.scheduled_for for row in rows if any(one is spec for one in row.specs)]
        alone = (one.scheduled_for for one in occurrences(spec, after))
        assert own == list(takewhile(lambda instant: instant <= instants[-1], alone))
    assert all(row.specs for row in rows)
    assert due_at(specs, rows[0].scheduled_for) == rows[0]
    assert due_at(specs, rows[0].scheduled_for + timedelta(seconds=1)) is None


@pytest.mark.parametrize("count", [0, -1, PREVIEW_MAX + 1, True])
def test_a_preview_is_bounded(count: int) -> None:
    """A number of rows outside its bounds is refused by name."""
    with pytest.raises(UserError, match=f"^count={count}: must be 1 to {PREVIEW_MAX}$"):
        preview([NEWS], count, JANUARY)


def test_the_longest_preview_is_whole() -> None:
    """The largest allowed number of rows is returned."""
    assert len(preview([_spec(frequency="interval", interval=60)], PREVIEW_MAX, JANUARY)) == 10_000


def test_a_shared_run_takes_the_most_patient_settings() -> None:
    """It has the most attempts and phase retries, the smallest batch, all types and the time."""
    config = run_config([NEWS, ORGANIC, _spec(content_type="video", phase_retries=4)], JANUARY)
    assert config == PipelineConfig(
        content_types=(ContentType.ORGANIC, ContentType.NEWS, ContentType.VIDEO),
        scheduled_for=JANUARY,
        retry_attempts=5,
        phase_retries=4,
        batch_size=500,
    )


def test_results_are_fresh_until_their_type_is_due_again() -> None:
    """All specifications of the schedule count, even those that were not due with the run."""
    weekly = ScheduleSpec.from_json(
        {"content_types": ["news", "video"], "frequency": "weekly", "days_of_week": ["sat"]}
    )
    daily = _spec(content_type="news", frequency="daily", time_of_day="09:00")
    friday = datetime(2026, 1, 2, 9, tzinfo=UTC)
    found = next_due([weekly, daily], [ContentType.NEWS, ContentType.VIDEO], friday)
    saturday = datetime(2026, 1, 3, tzinfo=UTC)
    assert found == {"news": saturday, "video": saturday}
    later = next_due([weekly, daily], [ContentType.NEWS], saturday)
    assert later == {"news": saturday.replace(hour=9)}
    config = run_config([daily], friday, "coffee", found)
    assert PipelineConfig.from_json(json.loads(json.dumps(config.to_json(), default=str))) == config


def test_each_type_keeps_its_breaker() -> None:
    """A content type's breaker is its specification's; of two, the one that opens first."""
    strict, lax = {"failure_threshold": 3, "timeout_seconds": 60}, {"failure_threshold": 9}
    specs = [
        _spec(content_type="news", circuit_breaker=lax),
        _spec(content_type="news", circuit_breaker=strict),
        _spec(content_type="video"),
    ]
    config = run_config(specs, None, "nightly")
    assert config.schedule == "nightly"
    wanted = BreakerSettings(failure_threshold=3, timeout_seconds=60)
    assert config.breaker_of(ContentType.NEWS) == wanted
    assert config.breaker_of(ContentType.VIDEO) is None


def test_a_specification_becomes_the_run_it_describes() -> None:
    """Every setting of the specification reaches the run."""
    spec = _spec(
        devices=["mobile"],
        landscape="coffee",
        enable_historical_tracking=False,
        force_refresh=True,
        retry_attempts=2,
        min_success_ratio=0.1,
        lane_deadline_hours=1,
        credit_limits={"scaleserp": 5},
    )
    assert run_config([spec], None) == PipelineConfig(
        content_types=(ContentType.NEWS,),
        devices=(Device.MOBILE,),
        landscape="coffee",
        enable_historical_tracking=False,
        force_refresh=True,
        retry_attempts=2,
        min_success_ratio=0.1,
        lane_deadline_hours=1,
        credit_limits={"scaleserp": 5},
    )


@pytest.mark.parametrize(
    "other",
    [
        {"landscape": "tea"},
        {"devices": ["mobile"]},
        {"enable_historical_tracking": False},
        {"force_refresh": True},
        {"min_success_ratio": 0.1},
        {"lane_deadline_hours": 1},
        {"credit_limits": {"scaleserp": 1}},
    ],
)
def test_shared_keys_must_agree(other: dict[str, Any]) -> None:
    """Specifications that differ in a shared key cannot form one schedule."""
    (key,) = other
    with pytest.raises(UserError, match=f"^{key}=.* differs from "):
        preview([NEWS, _spec(content_type="video", **other)], 1, JANUARY)


def test_a_schedule_has_a_specification() -> None:
    """An empty list is refused."""
    with pytest.raises(UserError, match="1 to 50 specifications, not 0"):
        preview([], 1, JANUARY)


def test_the_id_of_a_run_follows_from_schedule_and_instant() -> None:
    """It is the same in every zone and release, and differs by schedule and instant."""
    berlin = JANUARY.astimezone(NEWS.timezone)
    assert run_id_of("news", JANUARY) == run_id_of("news", berlin)
    assert run_id_of("news", JANUARY) == UUID("feca862a-fdb9-53ed-ba68-3001210d9542")
    assert run_id_of("other", JANUARY) != run_id_of("news", JANUARY)
    assert run_id_of("news", JANUARY + timedelta(microseconds=1)) != run_id_of("news", JANUARY)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 201])
def test_a_schedule_needs_a_printable_name(name: str) -> None:
    """Other names give no id."""
    with pytest.raises(UserError, match=r"^schedule="):
        run_id_of(name, JANUARY)


def test_the_id_needs_an_offset() -> None:
    """A time without zone is refused."""
    with pytest.raises(UserError, match=r"^instant=2026-01-30T12:00:00: must be"):
        run_id_of("news", JANUARY.replace(tzinfo=None))
