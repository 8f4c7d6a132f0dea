"""Children are real processes: a worker that fails at once, and workers on a real database."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from harness.environment import clean_environment

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
