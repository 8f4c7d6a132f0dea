"""The one line that explains a fault."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from serpline.config.breaker import RunBreaker
from serpline.config.documents import read_json
from serpline.config.model import fault_line
from serpline.config.run import PipelineConfig
from serpline.domain.breaker_settings import BreakerSettings
from serpline.domain.errors import UserError
from serpline.scheduling.spec import ScheduleSpec


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"retry_attempts": 3.0}, "retry_attempts=3.0: must be a whole number, 1 to 100"),
        ({"retry_attempt": 3}, "unknown key 'retry_attempt'=3: did you mean retry_attempts?"),
        ({"devices": ["watch"]}, "devices='watch': must be one of desktop, mobile, tablet"),
        (
            {"devices": ["desktp"]},
            "devices='desktp': must be one of desktop, mobile, tablet; did you mean desktop?",
        ),
        (
            {"credit_limits": {"scaleserb": 1}},
            "credit_limits: key 'scaleserb': must be one of scaleserp, dataforseo, pdl,"
            " wikidata, youtube, youtube_search, llm, page; did you mean scaleserp?",
        ),
        ({"devices": 3}, "devices=3: must be a list of desktop, mobile, tablet, at least one"),
        ({"content_types": ["all"]}, "content_types='all': must be one of organic, news, video"),
        (
            {"lane_deadline_hours": float("nan")},
            "lane_deadline_hours=nan: must be a number, 0 to 1000",
        ),
        (
            {"credit_limits": {"pdl": 1e12}},
            "credit_limits.pdl=1000000000000.0: must be a number, 0 or more, below 1e+12",
        ),
        (
            {"credit_limits": {"a\0": 1}},
            r"credit_limits: key 'a\x00': must be one of scaleserp, dataforseo, pdl,"
            " wikidata, youtube, youtube_search, llm, page",
        ),
        ({"credit_limits": [1]}, "credit_limits=[1]: must be an object"),
        (
            {"content_type_weights": {"a\nb": "x"}},
            r"'content_type_weights.a\nb'='x': must be a number, 0 or more, below 1e+12",
        ),
        (
            {"fresh_until": {"all": "2026-12-01T09:00Z"}},
            "fresh_until: key 'all': must be one of organic, news, video",
        ),
        (
            {"circuit_breaker": {"failure_treshold": 3}},
            "unknown key 'circuit_breaker.failure_treshold'=3: did you mean failure_threshold?",
        ),
        (
            {"lanes": {"news": {"circuit_breaker": {"timeout_seconds": 0}}}},
            "lanes.news.circuit_breaker.timeout_seconds=0: must be a number, above 0, at most"
            " 86400",
        ),
        (
            {"lanes": {"news": {"retry_atempts": 0}}},
            "unknown key 'lanes.news.retry_atempts'=0: did you mean retry_attempts?",
        ),
        ({"lanes": 3}, "lanes=3: must be an object"),
        ({"inputs_from": "x"}, "inputs_from='x': must be the id of a run"),
    ],
)
def test_a_fault_is_one_line(given: dict[str, Any], line: str) -> None:
    """It names the path of the key, the value, and what is allowed."""
    with pytest.raises(UserError) as refused:
        PipelineConfig.from_json(given)
    assert str(refused.value) == line


def test_a_key_that_is_not_text_is_shown() -> None:
    """A JSON key may be a lone surrogate."""
    with pytest.raises(UserError, match=r"^unknown key '\\ud800'=.*: known are ai_overview_factor"):
        PipelineConfig.from_json({"\ud800": 1})


def test_an_unknown_key_is_reported_before_a_missing_one() -> None:
    """A misspelt required key is reported as unknown."""
    with pytest.raises(UserError, match=r"^unknown key 'frequncy'='daily': did you mean freq"):
        ScheduleSpec.from_json({"content_type": "news", "frequncy": "daily"})


def test_all_faults_of_a_list_have_a_line() -> None:
    """Each fault in a list of objects can be formatted."""
    given = [
        {"content_type": "news", "frequency": "hourly", "retry_attempts": True},
        {"frequency": "daily", "catch_up": {"max": 1}},
    ]
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(list[ScheduleSpec]).validate_python(given)
    assert [(fault["loc"][0], fault_line(fault)) for fault in refused.value.errors()] == [
        (
            0,
            "frequency='hourly': must be one of daily, weekly, monthly, quarterly, cron, interval",
        ),
        (0, "retry_attempts=True: must be a whole number, 1 to 100"),
        (1, "content_type is missing: give content_type or content_types"),
        (
            1,
            "catch_up.within is missing: must be 60 to 31622400 seconds: a number, or like 90s,"
            " 1h30m, 2d",
        ),
    ]


def test_a_runs_breaker_has_the_settings_of_every_breaker() -> None:
    """It has the same names and defaults."""
    assert RunBreaker().settings() == BreakerSettings()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b'{"a": 1, "a": 2}', "'a'=2: the key is given twice"),
        (b'{"b": {"a": 1, "a": 2}}', "'a'=2: the key is given twice"),
        (b"[" + b"9" * 5_000 + b"]", "a number has more than 4300 digits"),
        (b"{'a': 1}", "not JSON: Expecting property name enclosed in double quotes: line 1"),
    ],
)
def test_a_document_is_read_strictly(document: bytes, words: str) -> None:
    """A duplicate key and an over-long number are refused."""
    with pytest.raises(UserError) as refused:
        read_json(document)
    assert str(refused.value).startswith(words)
