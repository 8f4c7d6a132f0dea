"""A phase's status follows from its lanes'."""

from decimal import Decimal

import pytest

from serpline.domain.states import LaneStatus
from serpline.pipeline.report import _number, phase_status


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
def test_a_phase_is_what_its_lanes_are(lanes: str, expected: str) -> None:
    """Lanes that were not asked for say nothing; one that goes on keeps the phase going."""
    assert phase_status([LaneStatus(word) for word in lanes.split()]) == expected


def test_whole_credits_have_no_point() -> None:
    """Credits are numbers as JSON has them, not text."""
    assert repr([_number(Decimal("15.000000")), _number(Decimal("0.25"))]) == "[15, 0.25]"
