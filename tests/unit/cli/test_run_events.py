"""Events of a run in words."""

from typing import Any

import pytest

from serpline.cli.run_events import is_action, words


def event(kind: str, **given: Any) -> dict[str, Any]:
    """An event's row."""
    place = {"phase_name": "serp_collection", "content_type": "news"}
    return {"event_type": kind, **place, "detail": given}


@pytest.mark.parametrize(
    ("row", "acts", "expected"),
    [
        (event("run.pause", by="anna"), True, "paused by anna"),
        (event("run.cancel"), True, "cancelled"),
        (
            event("breaker.reset", breaker="pdl_api", by="anna"),
            True,
            "breaker pdl_api closed by anna",
        ),
        (event("budget.raise", provider="pdl"), True, "credit limit of pdl raised"),
        (event("budget.raise"), True, "credit limit of ? raised"),
        (event("lane.fail", reason="all failed"), False, "serp_collection/news failed: all failed"),
        (
            event("batch.waiting", batch="b 1", reason="no credits"),
            False,
            "batch waiting b 1: no credits",
        ),
        (event("run.completed", error=None), False, "run completed news"),
    ],
)
def test_an_event_is_one_line(row: dict[str, Any], acts: bool, expected: str) -> None:
    """With the person who acted, and with the reason if it has one."""
    assert (is_action(row), words(row)) == (acts, expected)
