"""The tables of a run: which slot it stands for, what it cost, and what is missing."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from serpline.cli.run_tables import show_report

REPORT: dict[str, Any] = {
    "run_id": uuid4(),
    "status": "completed_with_errors",
    "seconds": 12.0,
    "schedule": "daily news",
    "scheduled_for": datetime(2026, 11, 30, 5, 30, tzinfo=UTC),
    "backfill": None,
    "phases": {},
    "collection": [],
    "calls": {"llm": 3, "page": 4},
    "credits": {"llm": 38285, "page": 0},
    "batches": [],
    "doing": [],
    "missing": [],
    "empty_pages": [],
    "failures": [],
}


def test_a_scheduled_run_names_its_slot(capsys: pytest.CaptureFixture[str]) -> None:
    """A backfill also says how; a run without a schedule has neither."""
    show_report(REPORT)
    assert "; schedule 'daily news' for the slot 2026-11-30 05:30 UTC" in _shown(capsys)
    show_report({**REPORT, "backfill": {"kind": "late"}})
    assert "'daily news'; late snapshot for the slot 2026-11-30 05:30 UTC" in _shown(capsys)
    show_report({**REPORT, "schedule": None, "scheduled_for": None})
    assert "slot" not in _shown(capsys)


def test_credits_have_their_unit(capsys: pytest.CaptureFixture[str]) -> None:
    """What a provider charges is in its own unit; pages are free."""
    show_report(REPORT)
    shown = _shown(capsys)
    assert "38,285 tokens" in shown
    assert "free" in shown


def test_a_failed_search_names_its_keyword(capsys: pytest.CaptureFixture[str]) -> None:
    """Its item has only a number of the keyword; other items are shown as they are."""
    failure = {"content_type": "news", "error_category": "server", "error": "no"}
    searched = {"phase_name": "serp_collection", "item": "4:GB:desktop", "keyword": "moka pot"}
    page = {"phase_name": "content_analysis", "item": "u:https://a.example/", "keyword": None}
    show_report({**REPORT, "failures": [{**failure, **searched}, {**failure, **page}]})
    shown = _shown(capsys)
    assert "4:GB:desktop (moka pot)" in shown
    assert "u:https://a.example/ " in shown


def _shown(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, with folded titles in one line."""
    return " ".join(capsys.readouterr().out.split())
