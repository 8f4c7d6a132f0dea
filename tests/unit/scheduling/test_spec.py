"""Reading schedule specifications."""

import json
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serpline.config.documents import SIZE_BYTES_MAX
from serpline.domain.errors import UserError
from serpline.domain.names import ContentType, Device, JobPriority
from serpline.scheduling.documents import read_specs, specs_from_json
from serpline.scheduling.frequencies import Frequency
from serpline.scheduling.merging import SPECS_MAX
from serpline.scheduling.spec import CatchUpWithin, Driver, Overlap, ScheduleSpec

BASE = {"content_type": "news", "frequency": "daily"}


def test_the_forms_of_the_design_are_read_as_written() -> None:
    """Both published examples are read with the defaults for all other keys."""
    news, organic = specs_from_json(
        json.loads(
            '[{"content_type":"news","frequency":"daily","time_of_day":"09:00",'
            '"retry_attempts":5,"circuit_breaker":{"failure_threshold":3,"timeout_seconds":60}},'
            '{"content_type":"organic","frequency":"monthly","day_of_month":1,'
            '"batch_size":"unlimited","retry_attempts":3,"enable_historical_tracking":true}]'
        )
    )
    assert news.content_types == (ContentType.NEWS,)
    assert (news.frequency, news.time_of_day) == (Frequency.DAILY, time(9))
    assert (news.retry_attempts, news.phase_retries) == (5, 1)
    assert news.circuit_breaker is not None
    assert news.circuit_breaker.failure_threshold == 3
    assert news.circuit_breaker.timeout_seconds == 60
    assert (organic.frequency, organic.day_of_month) == (Frequency.MONTHLY, 1)
    assert organic.batch_size is None
    assert organic.enable_historical_tracking
    assert organic.timezone == ZoneInfo("UTC")


def test_every_key_is_read() -> None:
    """Every key is read; durations may be numbers of seconds or text."""
    spec = ScheduleSpec.from_json(
        {
            "content_types": ["video", "organic", "video"],
            "frequency": "interval",
            "interval": "1h30m",
            "anchor": "2026-01-31T09:00:00+01:00",
            "timezone": "Australia/Lord_Howe",
            "devices": ["mobile", "desktop"],
            "landscape": "coffee",
            "phase_retries": 0,
            "min_collected_ratio": 0.9,
            "batch_size": 500,
            "enable_historical_tracking": False,
            "jitter": 90,
            "overlap": "buffer_one",
            "catch_up": {"within": "2d", "max": 5},
            "deadline": "6h",
            "start": "2026-02-01",
            "end": "2026-12-31T09:00:00+01:00",
            "min_success_ratio": 0.25,
            "lane_deadline_hours": 6,
            "priority": "high",
            "credit_limits": {"scaleserp": 500, "pdl": 20},
            "freshness_target": "26h",
            "pause_after_failures": 3,
            "notify": ["ops", "Café ☕", "ops"],
            "driver": "provider",
        }
    )
    assert spec.content_types == (ContentType.ORGANIC, ContentType.VIDEO)
    assert spec.interval_seconds == 5400
    assert spec.anchor == datetime(2026, 1, 31, 8, tzinfo=UTC)
    assert spec.devices == (Device.DESKTOP, Device.MOBILE)
    assert (spec.landscape, spec.phase_retries, spec.batch_size) == ("coffee", 0, 500)
    assert spec.min_collected_ratio == 0.9
    assert not spec.enable_historical_tracking
    assert (spec.jitter_seconds, spec.deadline_seconds) == (90, 21_600)
    assert spec.overlap is Overlap.BUFFER_ONE
    assert isinstance(spec.catch_up, CatchUpWithin)
    assert (spec.catch_up.within_seconds, spec.catch_up.slots_max) == (172_800, 5)
    # The day begins at midnight in Lord Howe, 11 hours before UTC.
    assert spec.first == datetime(2026, 1, 31, 13, tzinfo=UTC)
    assert spec.last == datetime(2026, 12, 31, 8, tzinfo=UTC)
    assert (spec.min_success_ratio, spec.lane_deadline_hours) == (0.25, 6.0)
    assert spec.priority is JobPriority.HIGH
    assert spec.credit_limits == {"scaleserp": 500.0, "pdl": 20.0}
    assert spec.freshness_target_seconds == 93_600
    assert spec.pause_after_failures == 3
    assert spec.notify == ("ops", "Café ☕")
    assert spec.driver is Driver.PROVIDER


def test_keys_that_are_not_given_have_their_defaults() -> None:
    """No bounds, no limits, normal priority, never paused, started by serpline."""
    spec = ScheduleSpec.from_json(BASE)
    assert (spec.first, spec.last, spec.freshness_target_seconds) == (None, None, None)
    assert (spec.priority, spec.driver) == (JobPriority.NORMAL, Driver.OWN)
    assert (spec.credit_limits, spec.notify, spec.pause_after_failures) == ({}, (), 0)
    assert (spec.min_success_ratio, spec.lane_deadline_hours) == (0.5, 48.0)


def test_a_destination_may_be_named_without_a_list() -> None:
    """One name is read as a list of one."""
    assert ScheduleSpec.from_json({**BASE, "notify": "ops"}).notify == ("ops",)


def test_dates_and_times_of_yaml_are_read() -> None:
    """YAML has dates and times of its own; they mean the same as the text."""
    instant = datetime(2026, 6, 1, 9, tzinfo=UTC)
    spec = ScheduleSpec.from_json({**BASE, "start": date(2026, 2, 1), "end": instant})
    assert spec == ScheduleSpec.from_json(
        {**BASE, "start": "2026-02-01", "end": "2026-06-01T09:00:00Z"}
    )


_days = st.lists(st.sampled_from(["mon", "Sunday", "FRI", 0, 1, 3, 7]), min_size=1, max_size=4)
_times = st.times().map(lambda t: f"{t:%H:%M}")
_timings = st.one_of(
    st.fixed_dictionaries(
        {"frequency": st.sampled_from(["daily", "weekly"])},
        optional={"time_of_day": _times, "days_of_week": _days},
    ),
    st.fixed_dictionaries(
        {"frequency": st.sampled_from(["monthly", "quarterly"])},
        optional={"time_of_day": _times, "day_of_month": st.sampled_from([-1, *range(1, 32)])},
    ),
    st.fixed_dictionaries(
        {
            "frequency": st.just("cron"),
            "cron": st.sampled_from(["*/5 * * * *", "0  9 L * *", "30 2 * * MON-FRI"]),
        }
    ),
    st.fixed_dictionaries(
        {"frequency": st.just("interval"), "interval": st.sampled_from([60, "90s", "1w", "2d3h"])},
        optional={"anchor": st.sampled_from(["2026-01-01", "2026-01-01T00:30:00.5+05:45"])},
    ),
)
_rest = st.fixed_dictionaries(
    {"content_types": st.lists(st.sampled_from(["news", "organic", "video"]), min_size=1)},
    optional={
        "timezone": st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "UTC"]),
        "devices": st.lists(st.sampled_from(list(map(str, Device))), min_size=1, max_size=3),
        "landscape": st.sampled_from(["coffee", "café ☕"]),
        "retry_attempts": st.integers(1, 100),
        "phase_retries": st.integers(0, 100),
        "batch_size": st.one_of(st.just("unlimited"), st.integers(1, 15_000)),
        "enable_historical_tracking": st.booleans(),
        "force_refresh": st.booleans(),
        "circuit_breaker": st.fixed_dictionaries(
            {},
            optional={
                "failure_threshold": st.integers(1, 1000),
                "success_threshold": st.integers(1, 1000),
                "timeout_seconds": st.floats(0.1, 86_400),
            },
        ),
        "jitter": st.integers(0, 43_199),
        "overlap": st.sampled_from(["skip", "buffer_one", "allow"]),
        "catch_up": st.one_of(
            st.sampled_from(["none", "latest", "all"]),
            st.just({"within": "3h"}),
            st.builds(lambda n: {"within": 60, "max": n}, st.integers(1, 100)),
        ),
        "deadline": st.integers(43_200, 86_400),
        "start": st.sampled_from(["1900-01-01", "2026-01-31", "2026-01-31T09:00:00.5+05:45"]),
        "end": st.sampled_from(["2999-12-31", "2204-02-29T00:00:00Z"]),
        "min_success_ratio": st.floats(0, 1),
        "lane_deadline_hours": st.floats(0, 1000),
        "priority": st.sampled_from(["low", "normal", "high", "critical"]),
        "credit_limits": st.dictionaries(st.sampled_from(["scaleserp", "pdl"]), st.integers(0, 9)),
        "freshness_target": st.sampled_from([60, "26h", "366d"]),
        "pause_after_failures": st.integers(0, 1000),
        "notify": st.lists(st.sampled_from(["ops", "café ☕"]), max_size=3),
        "driver": st.sampled_from(["own", "provider"]),
    },
)


@given(_timings, _rest)
def test_a_specification_survives_its_json(timing: dict[str, Any], rest: dict[str, Any]) -> None:
    """Its JSON form reads back as the same specification."""
    spec = ScheduleSpec.from_json({**timing, **rest})
    written = json.dumps(spec.to_json())
    assert read_specs(written.encode()) == (spec,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frequencey": "x"}, "unknown key 'frequencey'='x': did you mean frequency?"),
        ({"day_of_week": "mon"}, "unknown key 'day_of_week'='mon': did you mean days_of_week?"),
        ({"zzz": 1}, "unknown key 'zzz'=1: known are anchor, batch_size,"),
        ({"frequency": "hourly"}, "frequency='hourly': must be one of daily,"),
        ({"frequency": ["daily"]}, "frequency=['daily']: must be one of daily,"),
        ({"content_type": "images"}, "content_type='images': must be one of organic,"),
        ({"content_type": "all"}, "content_type='all': must be one of organic,"),
        ({"content_types": ["news"]}, "content_type is given twice"),
        ({"time_of_day": "9:00"}, "time_of_day='9:00': must be HH:MM"),
        ({"time_of_day": "24:00"}, "time_of_day='24:00': must be HH:MM"),
        ({"time_of_day": "09:00\n"}, r"time_of_day='09:00\n': must be HH:MM"),
        ({"time_of_day": "٠٩:٠٠"}, "time_of_day='٠٩:٠٠': must be HH:MM"),
        ({"time_of_day": 900}, "time_of_day=900: must be HH:MM"),
        ({"timezone": "Berlin"}, "timezone='Berlin': must be an IANA time zone"),
        ({"timezone": "europe/berlin"}, "did you mean Europe/Berlin?"),
        ({"timezone": "localtime"}, "timezone='localtime': must be an IANA time zone"),
        ({"timezone": "../../etc/passwd"}, "timezone='../../etc/passwd': must be"),
        ({"timezone": "Europe"}, "timezone='Europe': must be"),
        ({"timezone": None}, "timezone=None: must be"),
        ({"days_of_week": []}, "days_of_week=[]: must be a list"),
        ({"days_of_week": "mon"}, "days_of_week='mon': must be a list"),
        ({"days_of_week": [8]}, "days_of_week=8: must be monday"),
        ({"days_of_week": [True]}, "days_of_week=True: must be monday"),
        ({"days_of_week": ["montag"]}, "days_of_week='montag': must be monday"),
        ({"day_of_month": 1}, "day_of_month=1: goes with frequency monthly or quarterly"),
        ({"cron": "0 9 * * *"}, "cron='0 9 * * *': goes with frequency cron, not daily"),
        ({"interval": "1h"}, "interval=3600: goes with frequency interval, not daily"),
        ({"frequency": "monthly", "day_of_month": 0}, "day_of_month=0: must be 1 to 31"),
        ({"frequency": "monthly", "day_of_month": 32}, "day_of_month=32: must be 1 to 31"),
        ({"frequency": "monthly", "day_of_month": -2}, "day_of_month=-2: must be 1 to 31"),
        ({"frequency": "monthly", "day_of_month": 1.0}, "day_of_month=1.0: must be 1 to 31"),
        ({"frequency": "monthly", "days_of_week": [1]}, "days_of_week=['monday']: goes with"),
        ({"frequency": "cron"}, "cron is missing: frequency='cron' needs it"),
        ({"frequency": "cron", "cron": "0 9 * *"}, "cron='0 9 * *': must be five fields"),
        ({"frequency": "cron", "cron": "* 0 9 * * *"}, "cron='* 0 9 * * *': must be five"),
        (
            {"frequency": "cron", "cron": "0 99 * * *"},
            "cron='0 99 * * *': bad hour: minute is 0 to 59, hour",
        ),
        ({"frequency": "cron", "cron": "0 0 31 2 *"}, "cron='0 0 31 2 *': bad day-of-month"),
        ({"frequency": "cron", "cron": "0 0 LW * */7"}, "cron='0 0 LW * */7': never matches"),
        ({"frequency": "cron", "cron": "@daily"}, "cron='@daily': must be five fields"),
        ({"frequency": "interval"}, "interval is missing: frequency='interval' needs it"),
        ({"frequency": "interval", "interval": 59}, "interval=59: must be 60 to"),
        ({"frequency": "interval", "interval": "1 hour"}, "interval='1 hour': must be 60 to"),
        ({"frequency": "interval", "interval": "53w"}, "interval='53w': must be 60 to"),
        (
            {"frequency": "interval", "interval": 60, "anchor": "yesterday"},
            "anchor='yesterday': must be an ISO 8601 time",
        ),
        (
            {"frequency": "interval", "interval": 60, "anchor": "0001-01-01T00:00:00+14:00"},
            "anchor='0001-01-01T00:00:00+14:00': must be an ISO 8601 time",
        ),
        ({"retry_attempts": 0}, "retry_attempts=0: must be a whole number, 1 to 100"),
        ({"retry_attempts": True}, "retry_attempts=True: must be a whole number"),
        ({"retry_attempts": "5"}, "retry_attempts='5': must be a whole number"),
        ({"min_collected_ratio": 1.1}, "min_collected_ratio=1.1: must be a number, 0 to 1"),
        ({"phase_retries": -1}, "phase_retries=-1: must be a whole number, 0 to 100"),
        ({"batch_size": 0}, "batch_size=0: must be 1 to 15000"),
        ({"batch_size": 15_001}, "batch_size=15001: must be 1 to 15000"),
        ({"batch_size": "big"}, "batch_size='big': must be 1 to 15000"),
        ({"enable_historical_tracking": 1}, "enable_historical_tracking=1: must be true or false"),
        ({"force_refresh": "yes"}, "force_refresh='yes': must be true or false"),
        ({"circuit_breaker": 3}, "circuit_breaker=3: must be an object"),
        (
            {"circuit_breaker": {"failure_treshold": 3}},
            "unknown key 'circuit_breaker.failure_treshold'=3: did you mean failure_threshold?",
        ),
        ({"circuit_breaker": {"failure_threshold": 0}}, "circuit_breaker.failure_threshold=0: "),
        ({"circuit_breaker": {"timeout_seconds": 0}}, "circuit_breaker.timeout_seconds=0: must"),
        (
            {"circuit_breaker": {"timeout_seconds": float("nan")}},
            "circuit_breaker.timeout_seconds=nan: must",
        ),
        ({"jitter": -1}, "jitter=-1: must be 0 to 86400 seconds"),
        ({"jitter": "2d"}, "jitter='2d': must be 0 to 86400 seconds"),
        ({"jitter": "1h", "deadline": "1h"}, "jitter=3600: must be less than deadline=3600,"),
        ({"overlap": "queue"}, "overlap='queue': must be one of skip, buffer_one, allow"),
        ({"catch_up": "within"}, "catch_up='within': must be none, latest, all,"),
        ({"catch_up": {}}, "catch_up.within is missing"),
        ({"catch_up": {"within": "1h", "max": 101}}, "catch_up.max=101: must be"),
        ({"deadline": 0}, "deadline=0: must be 60 to"),
        ({"start": "31.01.2026"}, "start='31.01.2026': must be a date such as 2026-01-31, or an"),
        ({"start": "2026-02-30"}, "start='2026-02-30': must be a date"),
        ({"start": "2026-01-31T09:00:00"}, "start='2026-01-31T09:00:00': must be a date"),
        ({"start": "1899-12-31"}, "start='1899-12-31': must be a date"),
        ({"end": "3000-01-01"}, "end='3000-01-01': must be a date"),
        ({"end": None}, "end=None: must be a date"),
        ({"end": 20261231}, "end=20261231: must be a date"),
        (
            {"start": "2026-02-01", "end": "2026-01-31"},
            "end='2026-01-31': is before start='2026-02-01'",
        ),
        (
            # Midnight in Berlin is 23:00 UTC of the day before.
            {
                "timezone": "Europe/Berlin",
                "start": "2026-02-01",
                "end": "2026-01-31T22:59:59+00:00",
            },
            "end='2026-01-31T22:59:59+00:00': is before start='2026-02-01'",
        ),
        ({"min_success_ratio": 2}, "min_success_ratio=2: must be a number, 0 to 1"),
        ({"lane_deadline_hours": -1}, "lane_deadline_hours=-1: must be a number, 0 to 1000"),
        ({"priority": "urgent"}, "priority='urgent': must be one of low, normal, high, critical"),
        ({"priority": 10}, "priority=10: must be one of low, normal, high, critical"),
        ({"priority": "HIGH"}, "priority='HIGH': must be one of low, normal, high, critical"),
        ({"credit_limits": 500}, "credit_limits=500: must be an object"),
        ({"credit_limits": {"pdl": -1}}, "credit_limits.pdl=-1: must be a number, 0 or more"),
        (
            {"credit_limits": {"google": 1}},
            "credit_limits: key 'google': must be one of scaleserp, dataforseo, pdl,",
        ),
        ({"freshness_target": "26"}, "freshness_target='26': must be 60 to 31622400 seconds"),
        ({"freshness_target": 59}, "freshness_target=59: must be 60 to 31622400 seconds"),
        (
            {"pause_after_failures": -1},
            "pause_after_failures=-1: must be a whole number, 0 to 1000",
        ),
        ({"pause_after_failures": 1001}, "pause_after_failures=1001: must be a whole number"),
        ({"notify": [""]}, "notify='': must be 1 to 200 printable characters"),
        ({"notify": 5}, "notify=5: must be a list of names of notification destinations"),
        (
            {"notify": [str(n) for n in range(101)]},
            "must be a list of names of notification destinations, at most 100, not 101",
        ),
        ({"driver": "theirs"}, "driver='theirs': must be one of own, provider"),
        ({"devices": ["watch"]}, "devices='watch': must be one of desktop, mobile, tablet"),
        ({"landscape": " "}, "landscape=' ': must be 1 to 200 printable characters"),
        ({"landscape": "a "}, "landscape='a ': must be 1 to 200 printable characters, no space at"),
        ({"landscape": "a\x1b[31m"}, r"landscape='a\x1b[31m': must be 1 to 200 printable"),
        ({"x" * 1000: "y" * 1000}, "unknown key 'xxx"),
    ],
)
def test_a_wrong_key_or_value_is_named(change: dict[str, Any], message: str) -> None:
    """The error is one short line with both."""
    with pytest.raises(UserError) as refused:
        ScheduleSpec.from_json({**BASE, **change})
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 650


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted(ScheduleSpec.from_json({**BASE}).to_json())), _json)
def test_any_json_is_read_or_refused(key: str, value: Any) -> None:
    """Any JSON value of a key gives a specification or a one-line error."""
    refusal = None
    try:
        spec = ScheduleSpec.from_json({"content_types": ["news"], "frequency": "daily", key: value})
    except UserError as error:
        refusal = str(error)
    if refusal is None:
        assert ScheduleSpec.from_json(spec.to_json()) == spec
    else:
        assert key in refusal
        assert len(refusal.splitlines()) == 1


@pytest.mark.parametrize("missing", ["content_type", "frequency"])
def test_required_keys_are_named(missing: str) -> None:
    """A specification must have its content types and its frequency."""
    with pytest.raises(UserError, match=f"^{missing} is missing"):
        ScheduleSpec.from_json({key: value for key, value in BASE.items() if key != missing})


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"[", "not JSON: "),
        (b"\xff", "not UTF-8: invalid byte at offset 0"),
        (b'"daily"', "must be an object, not 'daily'"),
        (b"[]", f"1 to {SPECS_MAX} specifications, not 0"),
        (json.dumps([BASE] * (SPECS_MAX + 1)).encode(), f"not {SPECS_MAX + 1}"),
        (json.dumps([BASE, {**BASE, "retry_attempts": 0}]).encode(), "specification 2: retry_att"),
        (b'{"frequency": "daily", "frequency": "weekly"}', "'frequency'='weekly': the key is"),
        (b"[" * 200_000, "nested too deeply"),
        (b" " * (SIZE_BYTES_MAX + 1), f"larger than {SIZE_BYTES_MAX} bytes"),
        (
            json.dumps([BASE, {**BASE, "landscape": "a"}]).encode(),
            "landscape='a': another specification of news",
        ),
    ],
)
def test_a_document_that_is_no_schedule_is_refused(document: bytes, message: str) -> None:
    """The error is one line, with the number of the specification in a list."""
    with pytest.raises(UserError) as refused:
        read_specs(document)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_byte_order_mark_is_accepted() -> None:
    """Some editors write one."""
    assert read_specs(b"\xef\xbb\xbf" + json.dumps(BASE).encode()) == read_specs(
        json.dumps(BASE).encode()
    )
