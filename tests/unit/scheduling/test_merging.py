"""Several specifications as one schedule."""

import json
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.config.breaker import RunBreaker
from serpline.config.lanes import LaneSettings
from serpline.config.run import PipelineConfig
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType, Device, JobPriority
from serpline.scheduling.merging import (
    PREVIEW_MAX,
    check_compatible,
    due_at,
    due_slots,
    group_of,
    groups,
    next_due,
    preview,
    run_config,
)
from serpline.scheduling.occurrences import occurrences
from serpline.scheduling.slot_runs import run_id_of
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


def _config(*specs: ScheduleSpec, **given: Any) -> PipelineConfig:
    """The configuration of the one run that the specifications share."""
    (followed,) = groups(specs)
    return run_config(followed, given.pop("at", None), **given)


def test_each_type_of_a_shared_run_keeps_its_settings() -> None:
    """Every setting of a lane is that of the type's own specification."""
    news = _spec(
        retry_attempts=5,
        phase_retries=4,
        min_success_ratio=0.1,
        min_collected_ratio=0.2,
        batch_size=500,
        enable_historical_tracking=False,
        circuit_breaker={"failure_threshold": 3, "timeout_seconds": 60},
        lane_deadline_hours=6,
        priority="high",
    )
    video = _spec(content_type="video", batch_size=100, priority="low")
    config = _config(news, video, at=JANUARY, schedule="nightly")
    assert config.content_types == (ContentType.NEWS, ContentType.VIDEO)
    assert (config.scheduled_for, config.schedule) == (JANUARY, "nightly")
    assert _own(config, ContentType.NEWS) == LaneSettings(
        retry_attempts=5,
        phase_retries=4,
        min_success_ratio=0.1,
        min_collected_ratio=0.2,
        batch_size=500,
        enable_historical_tracking=False,
        circuit_breaker=RunBreaker(failure_threshold=3, timeout_seconds=60),
        lane_deadline_hours=6,
        priority=JobPriority.HIGH,
        provider_schedule=False,
    )
    assert _own(config, ContentType.VIDEO) == LaneSettings(
        retry_attempts=3,
        phase_retries=1,
        min_success_ratio=0.5,
        min_collected_ratio=1.0,
        batch_size=100,
        enable_historical_tracking=True,
        lane_deadline_hours=48,
        priority=JobPriority.LOW,
        provider_schedule=False,
    )


def _own(config: PipelineConfig, kind: ContentType) -> LaneSettings:
    """What the lanes of a content type follow."""
    own = config.of(kind)
    return LaneSettings(**{key: getattr(own, key) for key in LaneSettings.model_fields})


def test_work_for_all_types_follows_the_first_and_is_as_urgent_as_any() -> None:
    """Search volumes follow organic's specification, with the highest of the priorities."""
    organic = _spec(content_type="organic", retry_attempts=2, circuit_breaker={}, priority="low")
    news = _spec(retry_attempts=9, priority="high")
    own = _config(news, organic).of(ContentType.ALL)
    assert (own.retry_attempts, own.priority) == (2, JobPriority.HIGH)
    assert own.circuit_breaker is None


def test_types_without_differences_need_no_lanes() -> None:
    """The run's own keys hold for all of its types."""
    once = _config(_spec(batch_size=7), _spec(content_type="video", batch_size=7))
    assert once == PipelineConfig(
        content_types=(ContentType.NEWS, ContentType.VIDEO),
        batch_size=7,
        priority=JobPriority.NORMAL,
        provider_schedule=False,
    )


def test_of_two_specifications_of_a_type_the_first_decides() -> None:
    """The order is that of the schedule, whatever their numbers."""
    few, many = _spec(retry_attempts=2, batch_size=9), _spec(retry_attempts=8, batch_size=99)
    assert _config(few, many) == _config(few)
    assert _config(many, few) == _config(many)
    both = ScheduleSpec.from_json(
        {"content_types": ["news", "video"], "frequency": "daily", "retry_attempts": 4}
    )
    config = _config(few, both)
    assert config.of(ContentType.NEWS).retry_attempts == 2
    assert config.of(ContentType.VIDEO).retry_attempts == 4


DIFFERENCES = [
    {"landscape": "tea"},
    {"devices": ["mobile"]},
    {"force_refresh": True},
    {"credit_limits": {"scaleserp": 5}},
]


@pytest.mark.parametrize("other", DIFFERENCES)
def test_types_that_cannot_share_have_runs_of_their_own(other: dict[str, Any]) -> None:
    """They differ in what a run has one value of; each run has the values of its types."""
    specs = [NEWS, _spec(content_type="video", **other), _spec(content_type="organic")]
    check_compatible(specs)
    shared, alone = groups(specs)
    assert list(shared) == [ContentType.ORGANIC, ContentType.NEWS]
    assert alone == {ContentType.VIDEO: specs[1]}
    (key,) = other
    assert PipelineConfig.from_json(run_config(alone, None).to_json()).to_json()[key] == other[key]
    assert run_config(shared, None).to_json().get(key) == PipelineConfig().to_json().get(key)
    assert [group_of(spec) == group_of(NEWS) for spec in specs] == [True, False, True]


def test_what_types_need_not_agree_on_makes_no_further_run() -> None:
    """Attempts, batches, breakers, history, deadlines and priorities are each type's own."""
    video = _spec(
        content_type="video",
        retry_attempts=1,
        batch_size=2,
        enable_historical_tracking=False,
        circuit_breaker={},
        min_collected_ratio=0,
        lane_deadline_hours=1,
        priority="low",
        jitter="5m",
        overlap="allow",
    )
    assert len(groups([NEWS, video, ORGANIC])) == 1


def test_a_run_may_have_a_part_of_the_types() -> None:
    """A type whose slot does not start is left out; the others keep their settings."""
    config = run_config({ContentType.NEWS: NEWS}, JANUARY)
    assert config.content_types == (ContentType.NEWS,)
    assert _own(config, ContentType.NEWS) == _own(_config(ORGANIC, NEWS), ContentType.NEWS)


def test_a_group_follows_from_its_keys_alone() -> None:
    """It is the same in every release, whatever the order of limits and the other keys."""
    one = _spec(landscape="tea", credit_limits={"pdl": 2, "scaleserp": 1})
    same = _spec(credit_limits={"scaleserp": 1, "pdl": 2}, landscape="tea", retry_attempts=9)
    assert group_of(one) == group_of(same) == "1973c0ac2c040946"
    assert group_of(NEWS) == group_of(ORGANIC) != group_of(one)


def test_a_preview_shows_the_runs() -> None:
    """Each run is the list of its content types."""
    tea = _spec(content_type="video", landscape="tea", time_of_day="09:00")
    instant = datetime(2026, 2, 1, 8, tzinfo=UTC)
    (row,) = preview([NEWS, tea, ORGANIC], 1, instant)
    assert row["runs"] == [["organic", "news"], ["video"]]
    assert row["content_types"] == ["organic", "news", "video"]


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
    config = _config(daily, at=friday, schedule="coffee", fresh_until=found)
    assert config.fresh_until == {"news": saturday}
    assert PipelineConfig.from_json(json.loads(json.dumps(config.to_json(), default=str))) == config


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
    assert _config(spec) == PipelineConfig(
        content_types=(ContentType.NEWS,),
        devices=(Device.MOBILE,),
        landscape="coffee",
        enable_historical_tracking=False,
        force_refresh=True,
        retry_attempts=2,
        min_success_ratio=0.1,
        lane_deadline_hours=1,
        credit_limits={"scaleserp": 5},
        priority=JobPriority.NORMAL,
        provider_schedule=False,
    )


@pytest.mark.parametrize("other", DIFFERENCES)
def test_a_type_has_one_series_of_results(other: dict[str, Any]) -> None:
    """Specifications of one type that differ in what a run has one value of are refused."""
    (key,) = other
    with pytest.raises(UserError, match=f"^{key}=.*: another specification of news .* has "):
        preview([NEWS, ORGANIC, _spec(frequency="weekly", **other)], 1, JANUARY)


def test_a_schedule_has_a_specification() -> None:
    """An empty list is refused."""
    with pytest.raises(UserError, match="1 to 50 specifications, not 0"):
        preview([], 1, JANUARY)


def test_the_id_of_a_run_follows_from_schedule_and_instant() -> None:
    """It is the same in every zone and release, and differs by schedule, instant and group."""
    berlin = JANUARY.astimezone(ZoneInfo("Europe/Berlin"))
    assert run_id_of("news", JANUARY) == UUID("feca862a-fdb9-53ed-ba68-3001210d9542")
    assert run_id_of("news", JANUARY) == run_id_of("news", berlin)
    others = [
        run_id_of("other", JANUARY),
        run_id_of("news", JANUARY + timedelta(microseconds=1)),
        run_id_of("news", JANUARY, group_of(NEWS)),
        run_id_of("news", JANUARY, group_of(_spec(landscape="tea"))),
    ]
    assert len({run_id_of("news", JANUARY), *others}) == 5


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 201])
def test_a_schedule_needs_a_printable_name(name: str) -> None:
    """Other names give no id."""
    with pytest.raises(UserError, match=r"^schedule="):
        run_id_of(name, JANUARY)


def test_the_id_needs_an_offset() -> None:
    """A time without zone is refused."""
    with pytest.raises(UserError, match=r"^instant=2026-01-30T12:00:00: must be"):
        run_id_of("news", JANUARY.replace(tzinfo=None))


def test_only_slots_take_the_results_of_a_provider() -> None:
    """A run at another time, or of our own driver, has no batch that was started for it."""
    driven = _spec(content_type="video", driver="provider", time_of_day="09:00")
    config = _config(driven, _spec(), at=JANUARY.replace(hour=9))
    assert _own(config, ContentType.VIDEO).provider_schedule is True
    assert _own(config, ContentType.NEWS).provider_schedule is False
    for at in (JANUARY.replace(hour=10), None):
        assert not any(
            _own(_config(driven, _spec(), at=at), kind).provider_schedule
            for kind in (ContentType.NEWS, ContentType.VIDEO)
        )
