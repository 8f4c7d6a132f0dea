"""A run's configuration: what it refuses, what each mode changes, how it is stored."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.config.breaker import RunBreaker
from serpline.config.lanes import LaneSettings
from serpline.config.run import TESTING_KEYWORDS, PipelineConfig
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import UserError
from serpline.domain.names import (
    SEARCHED_TYPES,
    BatchPriority,
    ContentType,
    Device,
    JobPriority,
    PhaseName,
    PipelineMode,
)

# What the database can keep.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
RUN = UUID("6f6b1c1e-5a0e-4b0e-9b0a-6d8d4f1c7e55")


def stored(config: PipelineConfig) -> Any:
    """What the database gives back of it."""
    return json.loads(json.dumps(config.to_json(), default=str))


configs = st.builds(
    PipelineConfig,
    content_types=st.lists(st.sampled_from(SEARCHED_TYPES), min_size=1).map(tuple),
    devices=st.lists(st.sampled_from(Device), min_size=1).map(tuple),
    force_refresh=st.booleans(),
    enable_historical_tracking=st.booleans(),
    scheduled_for=st.none() | st.datetimes(timezones=st.just(UTC)),
    landscape=st.none() | TEXTS,
    keyword_limit=st.none() | st.integers(1, 10_000_000),
    phases=st.lists(st.sampled_from(PhaseName)).map(tuple),
    inputs_from=st.none() | st.uuids(),
    retry_attempts=st.integers(1, 100),
    min_success_ratio=st.floats(0, 1),
    schedule=st.none() | TEXTS,
    circuit_breaker=st.sampled_from([None, {}, {"failure_threshold": 3}]),
    priority=st.none() | st.sampled_from(JobPriority),
    lanes=st.dictionaries(
        st.sampled_from(["organic", "news", "video"]),
        st.fixed_dictionaries(
            {},
            optional={
                "retry_attempts": st.none() | st.integers(1, 100),
                "phase_retries": st.integers(0, 100),
                "min_success_ratio": st.floats(0, 1),
                "min_collected_ratio": st.floats(0, 1),
                "batch_size": st.none() | st.just("unlimited") | st.integers(1, 15_000),
                "enable_historical_tracking": st.booleans(),
                "circuit_breaker": st.none() | st.just({"failure_threshold": 7}),
                "lane_deadline_hours": st.floats(0, 1000),
                "priority": st.sampled_from(["low", "normal", "high", "critical"]),
            },
        ),
    ),
    credit_limits=st.dictionaries(st.sampled_from(["scaleserp", "pdl"]), st.floats(0, 1e6)),
)


@given(configs)
def test_what_is_stored_is_read_back(config: PipelineConfig) -> None:
    """A run's configuration is the same after the database."""
    assert PipelineConfig.from_json(stored(config)) == config


def test_an_older_releases_run_is_read() -> None:
    """A key missing from a stored run has its default."""
    old = stored(PipelineConfig(retry_attempts=7))
    del old["analysis_depth"]
    read = PipelineConfig.from_json(old)
    assert (read.retry_attempts, read.analysis_depth) == (7, PipelineConfig().analysis_depth)


def test_the_stored_form_of_earlier_runs_is_read() -> None:
    """Stored times with a space, nulls and a schedule's whole breaker are read."""
    read = PipelineConfig.from_json(
        {
            "content_types": ["news"],
            "scheduled_for": "2026-01-01 09:00:00+00:00",
            "schedule": "nightly",
            "landscape": None,
            "keyword_limit": None,
            "inputs_from": None,
            "batch_priority": None,
            "batch_size": 15000,
            "credit_limits": {"pdl": 5},
            "fresh_until": {"news": "2026-01-02 09:00:00+01:00"},
            "lanes": {"news": {"batch_size": None, "priority": "high"}},
            "circuit_breaker": {
                "failure_threshold": 3,
                "success_threshold": 2,
                "timeout_seconds": 60,
                "timeout_seconds_max": 900.0,
                "rate_threshold": 0.5,
                "rate_calls_min": 20,
                "rate_window_seconds": 60.0,
                "permit_seconds": None,
            },
        }
    )
    assert read == PipelineConfig(
        content_types=(ContentType.NEWS,),
        scheduled_for=datetime(2026, 1, 1, 9, tzinfo=UTC),
        schedule="nightly",
        credit_limits={"pdl": 5.0},
        fresh_until={"news": datetime(2026, 1, 2, 8, tzinfo=UTC)},
        lanes={"news": LaneSettings(priority=JobPriority.HIGH)},
        circuit_breaker=RunBreaker(failure_threshold=3),
    )


NEWS = {
    "retry_attempts": 7,
    "phase_retries": 0,
    "min_success_ratio": 0.1,
    "min_collected_ratio": 0.2,
    "batch_size": 50,
    "enable_historical_tracking": False,
    "circuit_breaker": {"failure_threshold": 2},
    "lane_deadline_hours": 3,
    "priority": "high",
    "provider_schedule": True,
}


def test_a_content_type_has_its_own_settings() -> None:
    """Every key of a lane replaces the run's for that type, and for no other."""
    assert set(NEWS) == set(LaneSettings.model_fields)
    config = PipelineConfig.from_json({"lanes": {"news": NEWS}})
    own = config.of(ContentType.NEWS)
    assert {key: own.to_json()[key] for key in NEWS if key != "circuit_breaker"} == {
        key: value for key, value in NEWS.items() if key != "circuit_breaker"
    }
    assert own.circuit_breaker is not None
    assert own.circuit_breaker.settings() == BreakerSettings(failure_threshold=2)
    for kind in (ContentType.ORGANIC, ContentType.VIDEO, ContentType.ALL):
        assert config.of(kind) == config
        assert config.of(kind).retry_attempts == 3
        assert config.of(kind).circuit_breaker is None


def test_what_a_lane_does_not_set_is_the_runs() -> None:
    """Null and a missing key leave the run's value; what a lane cannot set stays."""
    config = PipelineConfig.from_json(
        {
            "retry_attempts": 9,
            "batch_size": 70,
            "analysis_depth": 4,
            "circuit_breaker": {"timeout_seconds": 9},
            "lanes": {"video": {"retry_attempts": None, "phase_retries": 3}},
        }
    )
    own = config.of(ContentType.VIDEO)
    assert (own.retry_attempts, own.phase_retries) == (9, 3)
    assert (own.batch_size, own.analysis_depth) == (70, 4)
    assert own.circuit_breaker == RunBreaker(timeout_seconds=9)


def test_each_type_has_its_deadline_and_its_priority() -> None:
    """Deadlines are counted from the same instant; the normal priority is the default."""
    config = PipelineConfig.from_json(
        {
            "lane_deadline_hours": 2,
            "lanes": {"news": {"lane_deadline_hours": 0.5}, "video": {"priority": "low"}},
        }
    )
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    two = datetime(2026, 1, 1, 14, tzinfo=UTC)
    assert config.deadlines(noon) == {
        "organic": two,
        "news": datetime(2026, 1, 1, 12, 30, tzinfo=UTC),
        "video": two,
        "all": two,
    }
    assert config.job_priorities() == {
        "organic": JobPriority.NORMAL,
        "news": JobPriority.NORMAL,
        "video": JobPriority.LOW,
        "all": JobPriority.NORMAL,
    }


@pytest.mark.parametrize(
    ("given", "mode", "expected"),
    [
        ({}, PipelineMode.SCHEDULED, BatchPriority.NORMAL),
        ({}, PipelineMode.MANUAL, BatchPriority.HIGH),
        ({}, PipelineMode.TESTING, BatchPriority.HIGH),
        ({"priority": "low"}, PipelineMode.MANUAL, BatchPriority.LOW),
        ({"priority": "normal"}, PipelineMode.MANUAL, BatchPriority.NORMAL),
        ({"priority": "high"}, PipelineMode.SCHEDULED, BatchPriority.HIGH),
        ({"priority": "critical"}, PipelineMode.SCHEDULED, BatchPriority.HIGHEST),
        ({"priority": "low", "batch_priority": "high"}, PipelineMode.MANUAL, BatchPriority.HIGH),
        ({"batch_priority": "lowest"}, PipelineMode.MANUAL, BatchPriority.LOWEST),
    ],
)
def test_batches_have_the_priority_of_the_work(
    given: dict[str, str], mode: PipelineMode, expected: BatchPriority
) -> None:
    """Unless the batches' own is given; without both, it is the mode's."""
    assert PipelineConfig.from_json(given).batch_priority_in(mode) is expected


def test_a_mode_overrules_the_settings_of_a_lane() -> None:
    """TESTING keeps every type out of history; only SCHEDULED retries phases."""
    lanes = {"news": {"enable_historical_tracking": True, "phase_retries": 5, "retry_attempts": 7}}
    config = PipelineConfig.from_json({"lanes": lanes})
    tested = config.for_mode(PipelineMode.TESTING).of(ContentType.NEWS)
    assert not tested.enable_historical_tracking
    assert (tested.phase_retries, tested.retry_attempts) == (0, 7)
    assert config.for_mode(PipelineMode.MANUAL).of(ContentType.NEWS).phase_retries == 0
    assert config.for_mode(PipelineMode.SCHEDULED).of(ContentType.NEWS).phase_retries == 5


def test_a_schedules_words_are_accepted() -> None:
    """ "unlimited" is the largest batch, and content types are given as words."""
    config = PipelineConfig.from_json({"batch_size": "unlimited", "content_types": ["news"]})
    assert (config.batch_size, config.content_types) == (15_000, (ContentType.NEWS,))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content_types", []),
        ("content_types", ["all"]),
        ("content_types", ["images"]),
        ("content_types", None),
        ("content_types", 5),
        ("devices", []),
        ("devices", ["watch"]),
        ("phases", ["no_such_phase"]),
        ("scheduled_for", "yesterday"),
        ("scheduled_for", "2026-01-01T00:00:00"),
        ("inputs_from", "not-a-uuid"),
        ("inputs_from", ""),
        ("retry_attempts", 0),
        ("retry_attempts", 101),
        ("retry_attempts", 2.5),
        ("retry_attempts", True),
        ("retry_attempts", "5"),
        ("phase_retries", -1),
        ("min_success_ratio", 1.01),
        ("min_success_ratio", float("nan")),
        ("batch_size", 0),
        ("batch_size", 15_001),
        ("batch_size", "many"),
        ("batch_size", float("inf")),
        ("batch_size", 500.0),
        ("batch_size", "500"),
        ("batch_size", True),
        ("batch_size", None),
        ("retry_attempts", 10**400),
        ("min_success_ratio", 10**400),
        ("min_success_ratio", True),
        ("lane_deadline_hours", float("-inf")),
        ("scheduled_for", 1_767_225_600),
        ("inputs_from", 7),
        ("keyword_limit", 0),
        ("keyword_limit", 1.5),
        ("analysis_depth", 101),
        ("ai_overview_factor", -0.1),
        ("reference_ttl_days", "30"),
        ("realtime_searches_max", -1),
        ("unknown_volume", "zero"),
        ("force_refresh", "false"),
        ("enable_historical_tracking", 1),
        ("credit_limits", {"pdl": -1}),
        ("credit_limits", ["pdl"]),
        ("credit_limits", {"pdl": 1e12}),
        ("credit_limits", {"pdl": float("inf")}),
        ("circuit_breaker", {"failure_threshold": 2.5}),
        ("circuit_breaker", 3),
        ("circuit_breaker", {"news": {"failure_threshold": 3}}),
        ("circuit_breaker", {"failures": 3}),
        ("circuit_breaker", {"failure_threshold": "3"}),
        ("circuit_breaker", {"rate_threshold": float("nan")}),
        ("circuit_breaker", {"failure_threshold": None}),
        ("lanes", ["news"]),
        ("lanes", {"all": {}}),
        ("lanes", {"news": 3}),
        ("lanes", {"news": {"retry_attempts": 0}}),
        ("lanes", {"news": {"batch_size": 15_001}}),
        ("lanes", {"news": {"circuit_breaker": 3}}),
        ("lanes", {"news": {"landscape": "coffee"}}),
        ("priority", "urgent"),
        ("priority", True),
        ("schedule", 1),
        ("schedule", "a\0b"),
        ("fresh_until", {"news": "tomorrow"}),
        ("fresh_until", {"news": "2026-12-01T09:00"}),
        ("fresh_until", {"all": "2026-12-01T09:00+00:00"}),
        ("fresh_until", ["news"]),
        ("min_collected_ratio", 1.5),
        ("landscape", "\ud800"),
        ("curve", "\udfff"),
        ("credit_limits", {"a\0": 1}),
        ("credit_limits", {"bing": 1}),
        ("content_type_weights", {"\ud800": 1}),
        ("content_type_weights", {"news": "much"}),
        ("no_such_setting", 1),
    ],
)
def test_an_invalid_value_is_refused_by_name(name: str, value: object) -> None:
    """The error is one line that names the setting."""
    with pytest.raises(UserError, match=name) as caught:
        PipelineConfig.from_json({name: value})
    assert "\n" not in str(caught.value)


def test_phases_are_chosen_in_manual_mode_only() -> None:
    """SCHEDULED and TESTING runs have all phases."""
    chosen = PipelineConfig(phases=(PhaseName.KEYWORD_METRICS,))
    for mode in (PipelineMode.SCHEDULED, PipelineMode.TESTING):
        with pytest.raises(UserError, match="MANUAL mode only"):
            chosen.for_mode(mode)
    assert chosen.for_mode(PipelineMode.MANUAL).phases == (PhaseName.KEYWORD_METRICS,)


@pytest.mark.parametrize(
    "phases",
    [
        (PhaseName.CONTENT_ANALYSIS,),
        (PhaseName.KEYWORD_METRICS, PhaseName.DSI_CALCULATION),
        (PhaseName.SERP_COLLECTION, PhaseName.COMPANY_ENRICHMENT_YOUTUBE),
    ],
)
def test_inputs_of_unchosen_phases_come_from_a_named_run(phases: tuple[PhaseName, ...]) -> None:
    """A chosen phase whose needed input is not chosen needs ``inputs_from``."""
    with pytest.raises(UserError, match="inputs_from"):
        PipelineConfig(phases=phases).for_mode(PipelineMode.MANUAL)
    config = PipelineConfig(phases=phases, inputs_from=RUN)
    assert config.for_mode(PipelineMode.MANUAL) == PipelineConfig(
        phases=phases, inputs_from=RUN, phase_retries=0
    )


@pytest.mark.parametrize(
    "phases",
    [
        (PhaseName.SERP_COLLECTION,),
        (PhaseName.KEYWORD_METRICS,),
        (PhaseName.DSI_CALCULATION, PhaseName.SERP_COLLECTION),
        (PhaseName.CONTENT_ANALYSIS, PhaseName.SERP_COLLECTION),
    ],
)
def test_phases_that_need_nothing_else_need_no_run(phases: tuple[PhaseName, ...]) -> None:
    """Chosen phases with all that they need take no source run, in any order."""
    assert PipelineConfig(phases=phases).for_mode(PipelineMode.MANUAL).inputs_from is None


def test_testing_takes_five_keywords_and_stays_out_of_history() -> None:
    """TESTING: at most 5 keywords, no reuse, no history, no phase retry."""
    config = PipelineConfig(keyword_limit=100, phase_retries=2).for_mode(PipelineMode.TESTING)
    assert config.keyword_limit == TESTING_KEYWORDS == 5
    assert config.force_refresh
    assert not config.enable_historical_tracking
    assert config.phase_retries == 0
    assert PipelineConfig(keyword_limit=3).for_mode(PipelineMode.TESTING).keyword_limit == 3


def test_only_scheduled_runs_retry_phases() -> None:
    """SCHEDULED keeps ``phase_retries`` (default 1); MANUAL has none."""
    config = PipelineConfig(scheduled_for=datetime(2026, 1, 1, tzinfo=UTC))
    assert config.for_mode(PipelineMode.SCHEDULED).phase_retries == 1
    assert config.for_mode(PipelineMode.MANUAL).phase_retries == 0
