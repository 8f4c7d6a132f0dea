"""The demo's audit finds missing, doubled and differing calls."""

from typing import Any

import pytest

from serpline.cli.demo_audit import audit, summary_line
from serpline.core.clock import SystemClock
from serpline.simulator.journal import CallEntry, CallLog

Call = tuple[str, str, int, float]
SEARCH: Call = ("scaleserp", "start_batch B1", 200, 2)
ASKED: Call = ("pdl", "enrich acme.com", 404, 0)
MOVED: Call = ("pages", "page acme.com/old", 301, 0)
PAGE: Call = ("pages", "page acme.com/new", 200, 0)
REPORT = {"calls": {"scaleserp": 1, "pdl": 1, "page": 1}, "credits": {"scaleserp": 2}}


def log(*calls: Call, entries_max: int = 100) -> CallLog:
    """A log with these calls."""
    found = CallLog(SystemClock(), entries_max=entries_max)
    for seq, (provider, identity, status, credits_) in enumerate(calls, 1):
        at, attempt = found.record_arrival(provider, identity)
        operation = identity.split()[0]
        found.append(
            CallEntry(seq, at, provider, operation, {}, identity, attempt, status, credits_)
        )
    return found


def test_a_run_that_agrees() -> None:
    """A page and its redirect are one call of the ledger; free calls count too."""
    found = audit(log(SEARCH, ASKED, MOVED, PAGE), REPORT)
    assert found["agrees"]
    assert summary_line(found).startswith("The simulator's own log agrees: 3 calls")


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ((SEARCH, SEARCH, ASKED, PAGE), "paid twice: scaleserp: start_batch B1"),
        ((SEARCH, ASKED, ASKED, PAGE), "calls of pdl: 1 by the ledger, 2 by the simulator"),
        ((ASKED, PAGE, (*SEARCH[:3], 3)), "credits of scaleserp: 2 by the ledger, 3"),
    ],
)
def test_each_difference_is_named(calls: tuple[Call, ...], message: str) -> None:
    """A call charged twice, a call missing in the ledger and a different charge are each named."""
    found = audit(log(*calls), REPORT)
    assert not found["agrees"]
    assert message in summary_line(found)


def test_calls_missing_at_the_simulator_are_named() -> None:
    """Calls of the ledger that the simulator never received are a difference."""
    report: dict[str, Any] = {"calls": {**REPORT["calls"], "llm": 2}, "credits": {"scaleserp": 2}}
    found = audit(log(SEARCH, ASKED, PAGE), report)
    assert found["differences"] == ["calls of llm: 2 by the ledger, 0 by the simulator"]


def test_a_full_log_does_not_agree() -> None:
    """A log with dropped calls never agrees."""
    found = audit(log(SEARCH, ASKED, PAGE, entries_max=2), REPORT)
    assert not found["agrees"]
    assert "the simulator's log is full: 1 calls are not in it" in found["differences"]
