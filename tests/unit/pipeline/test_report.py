"""A phase's status is derived from its lanes'."""

from decimal import Decimal

import pytest

from serpline.domain.phase_inputs import PHASE_INPUTS
from serpline.domain.states import LaneStatus
from serpline.pipeline.report import _not_completed, _number, phase_status


@pytest.mark.parametrize(
    ("lanes", "expected"),
    [
        ("skipped skipped", "skipped"),
        ("pending pending", "pending"),
        ("pending skipped", "pending"),
        ("completed pending", "running"),
        ("running failed", "running"),
        ("completed skipped", "completed"),
        ("completed failed", "completed_with_errors"),
        ("completed blocked", "completed_with_errors"),
        ("failed failed", "failed"),
        ("failed blocked", "failed"),
        ("blocked blocked", "blocked"),
    ],
)
def test_a_phases_status_follows_its_lanes(lanes: str, expected: str) -> None:
    """Skipped lanes do not count. One running lane keeps the phase running."""
    assert phase_status([LaneStatus(word) for word in lanes.split()]) == expected


def test_a_report_folds_what_is_missing() -> None:
    """One entry for all content types that lack a phase, with the reason and the loss.

    Phases that were not chosen have no reason. What is blocked follows from what failed.
    """
    unset = {"status": LaneStatus.SKIPPED, "note": "no key", "error": None}
    failed = {"status": LaneStatus.FAILED, "note": None, "error": "all 2 items failed"}
    unchosen = {"status": LaneStatus.SKIPPED, "note": None, "error": None}
    empty = {"status": LaneStatus.COMPLETED, "note": "nothing to do", "error": None}
    phases = {
        "keyword_metrics": {"content_types": {"all": unchosen}},
        "youtube_enrichment": {"content_types": {"organic": unset, "video": unset}},
        "content_analysis": {"content_types": {"organic": failed, "video": empty}},
    }
    found = [tuple(row.values()) for row in _not_completed(phases)]
    assert found == [
        ("youtube_enrichment", "skipped", ["organic", "video"], "no key", _without("youtube")),
        ("content_analysis", "failed", ["organic"], "all 2 items failed", _without("content")),
    ]


def _without(name: str) -> str:
    return next(row.without for phase, row in PHASE_INPUTS.items() if phase.startswith(name))


def test_whole_credits_have_no_decimal_point() -> None:
    """Credits are JSON numbers, not text."""
    assert repr([_number(Decimal("15.000000")), _number(Decimal("0.25"))]) == "[15, 0.25]"
