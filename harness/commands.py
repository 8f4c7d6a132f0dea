"""Run ``serpline`` commands in this process, which saves the seconds of a process's start."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import serpline.cli as cli
from harness.environment import clean_environment


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
