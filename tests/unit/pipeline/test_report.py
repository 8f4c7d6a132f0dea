"""A phase's status is derived from its lanes'."""

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
def test_a_phases_status_follows_its_lanes(lanes: str, expected: str) -> None:
    """Skipped lanes do not count. One running lane keeps the phase running."""
    assert phase_status([LaneStatus(word) for word in lanes.split()]) == expected


def test_whole_credits_have_no_decimal_point() -> None:
    """Credits are JSON numbers, not text."""
    assert repr([_number(Decimal("15.000000")), _number(Decimal("0.25"))]) == "[15, 0.25]"
