"""Tables about schedules at 80 columns."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from serpline.cli.schedule_tables import (
    show_cost,
    show_health,
    show_provider_batches,
    show_schedules,
    show_slots,
    show_times,
    show_versions,
)
from serpline.cli.times import length, minute
from serpline.domain.schedules import SlotReason
from serpline.scheduling.documents import specs_from_json
from serpline.scheduling.merging import preview

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
RUN = UUID("0123abcd-0000-4000-8000-000000000000")


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    return lines


def _cells(line: str) -> list[str]:
    return re.split(" {2,}", line.strip())


def _slot(kind: str, **changes: Any) -> dict[str, Any]:
    return {
        "scheduled_for": NINE,
        "content_type": kind,
        "outcome": "started",
        "reason_code": "on_time",
        "reason": "started on time",
        "run_id": RUN,
        "run_status": "completed_with_errors",
        "lateness_seconds": 2.0,
    } | changes


def test_content_types_that_share_a_fate_share_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    """One row for what they share. A run is named by the characters that 'run show' takes."""
    late = {"scheduled_for": NINE - timedelta(days=1), "lateness_seconds": 7_200.0}
    show_slots([_slot("news"), _slot("video"), _slot("news", **late)])
    lines = _lines(capsys)
    assert sum("2026-03-02 09:00" in line for line in lines) == 1
    assert sum("0123abcd" in line for line in lines) == 2
    words = " ".join(_cells(line)[-1] for line in lines)
    assert "started on time; run completed with errors" in words
    assert "2 h after its time" in words


def test_every_reason_fits(capsys: pytest.CaptureFixture[str]) -> None:
    """The longest codes of schedules are shown whole, in the last outcome too."""
    for code in SlotReason:
        last = [_slot("news", outcome="skipped", reason_code=str(code), run_status=None)]
        row = {"id": "daily news", "status": "active", "next_at": NINE.isoformat()}
        show_schedules([{**row, "last": last}])
        lines = _lines(capsys)
        assert " ".join(_cells(line)[-1] for line in lines[2:]) == (
            f"skipped ({code.replace('_', ' ')})"
        )


def test_the_list_names_types_whose_outcomes_differ(capsys: pytest.CaptureFixture[str]) -> None:
    """News ran and video did not."""
    skipped = {"outcome": "skipped", "reason_code": "overlap", "run_status": None}
    row = {"id": "s", "status": "active", "next_at": None}
    show_schedules([{**row, "last": [_slot("news"), _slot("video", **skipped)]}])
    words = " ".join(_cells(line)[-1] for line in _lines(capsys)[3:])
    assert words == "news: completed with errors; video: skipped (overlap)"


def test_a_clock_change_is_explained_below_the_times(capsys: pytest.CaptureFixture[str]) -> None:
    """The row has a mark, and the note follows the table once."""
    spec = {"content_type": "news", "frequency": "daily", "time_of_day": "02:30"}
    specs = specs_from_json({**spec, "timezone": "Europe/Berlin"})
    show_times(preview(specs, 3, datetime(2026, 3, 27, 12, tzinfo=UTC)))
    shown = capsys.readouterr().out
    assert "Sun 2026-03-29 03:00+02:00 [1]" in shown
    assert shown.count("[1]") == 2
    assert "\n[1] 2026-03-29 02:30 does not exist in Europe/Berlin" in shown


def test_health_cost_and_versions_fit(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is cut: unknown values are dashes, bounds that differ are both shown."""
    lane = {
        "content_type": "news",
        "last_success_at": NINE,
        "fresh_until": NINE,
        "stale_since": NINE,
        "failures_in_row": 3,
        "paused_at": NINE,
        "pause_reason": "3 runs in a row failed",
        "recent": {"lateness_seconds_median": 2.0, "lateness_seconds_max": 90_000.0},
    }
    show_health({"content_types": ["news"], "lanes": [lane, {**lane, "content_type": "gone"}]})
    *table, stale, paused = _lines(capsys)
    moment = "2026-03-02 09:00"
    assert _cells(table[-1]) == ["news", moment, moment, "3", "2 s (1 d)"]
    assert stale == f"news: data too old since {moment}"
    assert paused == "news is paused: 3 runs in a row failed"
    cost = {"unit": "tokens", "basis": f"estimate: as in run {RUN}", "usd": None, "usd_max": None}
    providers = {"llm": {**cost, "credits": 1_000.0, "credits_max": 3_000_000.0}}
    show_cost({"runs": 30.4, "searches": 3_040, "providers": providers, "error": None})
    assert "30.4 runs, 3,040 searches" in _lines(capsys)[0]
    show_cost({"error": "no keywords: import some first"})
    assert _lines(capsys) == ["Cost per month: unknown: no keywords: import some first"]
    show_versions(
        [
            {"version": 1, "created_at": NINE, "reason": "first"},
            {"version": 2, "created_at": NINE, "reason": None},
        ]
    )
    assert [_cells(line)[0] for line in _lines(capsys)[2:]] == ["2", "1"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "0 s"), (59, "59 s"), (90, "1.5 min"), (7_200, "2 h"), (86_400, "1 d"), (None, None)],
)
def test_a_length_of_time(seconds: float | None, shown: str | None) -> None:
    """It is shown in its largest unit."""
    assert length(seconds) == shown


def test_an_instant() -> None:
    """It is shown in UTC, whatever its offset; a far one too."""
    assert minute("2026-03-02T09:00:00+05:45") == "2026-03-02 03:15"
    assert minute(datetime(2200, 1, 1, tzinfo=UTC)) == "2200-01-01 00:00"
    assert minute(None) is None


def test_batches_that_the_provider_starts(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with what a start costs, and why it does not start. Without any, there is no table."""
    show_provider_batches([])
    assert capsys.readouterr().out == ""
    good = {
        "content_type": "news",
        "provider_batch_id": "9E867FAA",
        "enabled": True,
        "searches": 15_000,
        "credits": 15_000.0,
        "held_by": None,
        "error": None,
    }
    held = {"enabled": False, "held_by": "month:2026-12", "error": "scaleserp: 500"}
    new = dict.fromkeys(good) | {"content_type": "video"}
    show_provider_batches([good, {**good, **held}, new])
    text = " ".join(_lines(capsys))
    words = " ".join(text.split())
    assert "9E867FAA yes 15000 15,000" in words
    assert "9E867FAA no 15000 15,000 held back: no room in" in words
    assert "month:2026-12; scaleserp:" in words
