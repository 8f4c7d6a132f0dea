"""Commands as a person can run them again, and help as it fits a terminal."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from serpline.cli import app
from serpline.cli.help import command_of
from serpline.cli.invocation import command
from serpline.cli.root import PANELS
from serpline.core.person import person


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual environment that is not on PATH, in the current directory."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "serpline").touch(mode=0o700)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.chdir(tmp_path)
    return programs


def test_the_program_is_named_as_the_shell_finds_it(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name on PATH, by its path beside it, as a module where nothing is installed."""
    assert command(None, "run", "list") == ".venv/bin/serpline run list"
    monkeypatch.chdir("/usr")
    assert command(Path("/a b"), "run") == f"{environment}/serpline --data-dir '/a b' run"
    monkeypatch.setenv("PATH", f"/usr/bin:{environment}")
    assert command(None, "rankings", "--keyword", "it's") == (
        """serpline rankings --keyword 'it'"'"'s'"""
    )
    (environment / "serpline").unlink()
    assert command(None, "up") == f"{environment}/python -m serpline.cli up"


def test_a_user_without_a_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers often run as a number without an account."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOGNAME", "anna")
    assert person() == "anna"
    monkeypatch.setenv("LOGNAME", "\udce4")
    assert person() is None
    monkeypatch.delenv("LOGNAME")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    assert person() is None


def commands(one: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A command and all below it."""
    yield path, one
    for name, each in getattr(one, "commands", {}).items():
        yield from commands(each, (*path, name))


def test_help_fits_80_columns_and_shows_plain_flags(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of every command. The first screen has its panels in the order of their use."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    for path, each in commands(command_of(app, PANELS)):
        with typer.Context(each, info_name=" ".join(("serpline", *path))) as ctx:
            each.get_help(ctx)
        shown = capsys.readouterr().out
        assert "<bool>" not in shown, path
        assert max(map(len, shown.splitlines())) <= 80, path
        if not path:
            places = [shown.index(f"─ {panel} ─") for panel in PANELS]
            assert places == sorted(places)
