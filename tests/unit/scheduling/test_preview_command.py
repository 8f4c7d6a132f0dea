"""``serpline schedule preview``."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from serpline.cli.schedule import schedule_app
from serpline.domain.errors import UserError

NEWS = {
    "content_type": "news",
    "frequency": "daily",
    "time_of_day": "02:30",
    "timezone": "Europe/Berlin",
}

app = typer.Typer()
app.add_typer(schedule_app, name="schedule")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """A file of one specification."""
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(NEWS))
    return path


def _run(*arguments: object) -> None:
    app(["schedule", "preview", *map(str, arguments)], standalone_mode=False)


def _json(capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, Any]], str]:
    written = capsys.readouterr()
    return json.loads(written.out), written.err


def test_the_document_has_the_shape_of_the_contract(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has UTC and local times, the types, and the note on the clock change."""
    _run(spec, "--count", 2, "--after", "2026-03-28T12:00:00Z", "--json")
    rows, said = _json(capsys)
    assert said == ""
    shape = ("scheduled_for", "local", "content_types", "note")
    assert [tuple(row[key] for key in shape) for row in rows] == [
        (
            "2026-03-29T01:00:00+00:00",
            "2026-03-29T03:00:00+02:00",
            ["news"],
            "2026-03-29 02:30 does not exist in Europe/Berlin: runs at the first instant after"
            " the clock change",
        ),
        ("2026-03-30T00:30:00+00:00", "2026-03-30T02:30:00+02:00", ["news"], None),
    ]


@pytest.mark.parametrize(
    ("after", "first"),
    [
        ("2026-01-10", "2026-01-10T01:30:00+00:00"),
        ("2026-01-10T01:30:00", "2026-01-11T01:30:00+00:00"),
        ("2026-01-10T02:30:00+02:00", "2026-01-10T01:30:00+00:00"),
    ],
)
def test_after_is_utc_unless_it_says_otherwise(
    spec: Path, capsys: pytest.CaptureFixture[str], after: str, first: str
) -> None:
    """``--after`` is a date, a time or a time with offset; that time itself is not shown."""
    _run(spec, "--after", after, "--count", 1, "--json")
    assert _json(capsys)[0][0]["scheduled_for"] == first


def test_it_starts_now(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without ``--after`` the next ten times are shown."""
    before = datetime.now(UTC)  # noqa: TID251  compared with the command's own clock
    _run(spec, "--json")
    rows = _json(capsys)[0]
    assert len(rows) == 10
    first = datetime.fromisoformat(rows[0]["scheduled_for"])
    assert before < first <= before + timedelta(hours=26)


def test_a_person_gets_a_table(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table has one line per time."""
    _run(spec, "--count", 2, "--after", "2026-01-10")
    shown = capsys.readouterr().out
    assert shown.count("news") == 2
    assert "Sat 2026-01-10 02:30+01:00" in shown


def test_a_list_is_one_schedule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Types due at the same instant share a row."""
    path = tmp_path / "spec.json"
    path.write_text(json.dumps([NEWS, {**NEWS, "content_type": "video"}]))
    _run(path, "--count", 1, "--after", "2026-01-10", "--json")
    assert _json(capsys)[0][0]["content_types"] == ["news", "video"]


def test_a_short_list_has_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The list ends after 100 years, and a line on stderr says so."""
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({**NEWS, "frequency": "quarterly"}))
    _run(path, "--count", 500, "--after", "2026-01-10", "--json")
    rows, said = _json(capsys)
    assert len(rows) == 400
    assert said == "only 400 of 500: no more within 100 years\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "0"], "count=0: must be 1 to 10000"),
        (["--after", "tomorrow"], "--after='tomorrow': must be an ISO 8601 time"),
        (["--after", "1800-01-01"], "after=1800-01-01T00:00:00+00:00: must be 1900 to 2999"),
    ],
)
def test_a_wrong_option_is_named(spec: Path, arguments: list[str], message: str) -> None:
    """The error line names the option and the value."""
    with pytest.raises(UserError) as refused:
        _run(spec, *arguments)
    assert str(refused.value).startswith(message)


def test_a_wrong_specification_is_named_with_its_file(spec: Path) -> None:
    """The error line names file, key and value, or the missing file."""
    spec.write_text(json.dumps({**NEWS, "time_of_day": "25:00"}))
    with pytest.raises(UserError) as refused:
        _run(spec)
    assert str(refused.value) == f"{spec}: time_of_day='25:00': must be HH:MM, 00:00 to 23:59"
    with pytest.raises(UserError) as missing:
        _run(spec.parent / "none.json")
    assert str(missing.value).endswith("none.json: No such file or directory")


def test_it_needs_no_database(spec: Path) -> None:
    """The command, in its own process, loads neither the database driver nor the queue."""
    program = (
        "import sys; from serpline.cli.schedule import schedule_app as app\n"
        f"app(['preview', {str(spec)!r}, '--json'], standalone_mode=False)\n"
        "sys.exit(sorted({'sqlalchemy', 'psycopg', 'procrastinate'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)) == 10
