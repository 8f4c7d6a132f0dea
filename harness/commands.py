"""Run ``serpline`` commands in this process or in a fork, which saves the start of a process."""

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path

import serpline.cli as cli
from harness.environment import clean_environment
from harness.forks import Fork, enter_fork, preload

preload(__name__)


def run_command(
    *arguments: str, stdin: bytes | None = None, **settings: str
) -> subprocess.CompletedProcess[bytes]:
    """Run one command without this machine's settings; returns its exit code and its output.

    ``stdin``: what it reads there; by default the stdin of this process.
    """
    saved, own_stdin = dict(os.environ), sys.stdin
    out, err = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)
    )
    environment = {**clean_environment(), **settings}
    os.environ.clear()
    os.environ.update(environment)
    if stdin is not None:
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = cli.main(arguments)
        return subprocess.CompletedProcess(
            list(arguments), code, out.buffer.getvalue(), err.buffer.getvalue()
        )
    finally:
        sys.stdin = own_stdin
        os.environ.clear()
        os.environ.update(saved)


async def fork_command(*arguments: str, **settings: str) -> subprocess.CompletedProcess[bytes]:
    """Run one command in a process of its own, while this one goes on; otherwise as above."""
    with tempfile.TemporaryDirectory() as directory:
        out, err = Path(directory, "out"), Path(directory, "err")
        process = Fork(_main, settings, err, out, arguments)
        try:
            code = await process.wait()
        finally:
            process.close()
        return subprocess.CompletedProcess(
            list(arguments), code, out.read_bytes(), err.read_bytes()
        )


def _main(
    environment: Mapping[str, str],
    log: Path,
    alive: Connection,
    out: Path,
    arguments: tuple[str, ...],
) -> None:
    enter_fork(environment, log, alive)
    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 1)
    sys.exit(cli.main(arguments))
