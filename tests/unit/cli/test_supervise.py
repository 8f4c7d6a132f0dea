"""Children are real processes: a worker that fails at once, and workers on a real database."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from harness.environment import clean_environment

from serpline.cli import main
from serpline.cli.supervise import Child, Supervisor
from serpline.core.clock import SystemClock
from serpline.domain.errors import UserError

WAIT_SECONDS = 60.0


def environment(database_url: str) -> dict[str, str]:
    """A clean environment with a database."""
    return {
        **clean_environment(),
        "SERPLINE_DATABASE_URL": database_url,
        "SERPLINE_LOG_LEVEL": "ERROR",
    }


def lives(pid: int) -> bool:
    """Whether a process exists (a reaped child does not)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_the_supervisor_gives_up_on_a_crashing_child(tmp_path: Path) -> None:
    """After ``crashes_max`` ends in a row, ``check`` names the child, its exit code and its log."""
    log = tmp_path / "worker.log"
    unreachable = environment("postgresql://me@127.0.0.1:1/nothing")
    starts: list[int] = []
    supervisor = Supervisor(
        [Child("worker 1", ["worker"], unreachable, log)],
        SystemClock(),
        crashes_max=2,
        back_off_seconds=0.01,
        on_start=lambda _, pid: starts.append(pid),
    )
    async with supervisor.running():
        await supervisor.check()
        await asyncio.wait_for(supervisor.gave_up.wait(), WAIT_SECONDS)
        with pytest.raises(UserError, match=r"worker 1 keeps crashing \(exit code 2\)") as caught:
            await supervisor.check()
    assert str(log) in str(caught.value)
    assert len(starts) == 2
    assert log.read_text().count("cannot connect") == 2


async def test_a_child_that_refuses_its_settings_is_not_restarted(tmp_path: Path) -> None:
    """The same settings would be refused again. The child's log has the line."""
    log = tmp_path / "worker.log"
    mistyped = {**clean_environment(), "SERPLINE_CREDITS_PER_DAY": '{"scaleserb": 1}'}
    starts: list[int] = []
    supervisor = Supervisor(
        [Child("worker 1", ["worker"], mistyped, log)],
        SystemClock(),
        back_off_seconds=0.01,
        on_start=lambda _, pid: starts.append(pid),
    )
    async with supervisor.running():
        await asyncio.wait_for(supervisor.gave_up.wait(), WAIT_SECONDS)
        with pytest.raises(UserError, match="worker 1 refuses its settings"):
            await supervisor.check()
    assert len(starts) == 1
    assert log.read_text() == (
        "serpline: SERPLINE_CREDITS_PER_DAY: unknown provider 'scaleserb';"
        " did you mean scaleserp?\n"
    )


def test_up_ends_with_the_line_of_refused_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It starts no child and opens no database."""
    monkeypatch.setenv("SERPLINE_DATABASE_URL", "postgresql://me@127.0.0.1:1/nothing")
    monkeypatch.setenv("SERPLINE_RETENTION_DAYS", '{"item": 3}')
    assert main(["up"]) == 2
    assert (
        capsys.readouterr().err
        == "serpline: SERPLINE_RETENTION_DAYS: unknown 'item'; did you mean items?\n"
    )


async def test_a_killed_child_is_restarted(database_url: str) -> None:
    """A killed child is restarted; leaving the block stops all children."""
    started: asyncio.Queue[int] = asyncio.Queue()
    supervisor = Supervisor(
        [Child("worker 1", ["worker"], environment(database_url))],
        SystemClock(),
        back_off_seconds=0.01,
        on_start=lambda _, pid: started.put_nowait(pid),
    )
    async with supervisor.running():
        first = await asyncio.wait_for(started.get(), WAIT_SECONDS)
        os.kill(first, signal.SIGKILL)
        second = await asyncio.wait_for(started.get(), WAIT_SECONDS)
    assert first != second
    assert not lives(first)
    assert not lives(second)
    assert started.empty()


async def test_a_child_ends_with_its_parent(database_url: str) -> None:
    """A worker exits with 0 when its stdin closes, as it does when the parent is killed."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "serpline.cli",
        "worker",
        "--with-parent",
        stdin=asyncio.subprocess.PIPE,
        env=environment(database_url),
    )
    assert child.stdin is not None
    child.stdin.close()
    try:
        assert await asyncio.wait_for(child.wait(), WAIT_SECONDS) == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
