"""``run start --wait`` as a person uses it: what it waits for, what others do, Ctrl-C."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from harness.commands import run_command
from harness.environment import clean_environment


def commands(url: str, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command on the database; it must succeed."""
    done = run_command(*arguments, SERPLINE_DATABASE_URL=url)
    assert done.returncode == 0, done.stderr.decode()
    return done


def read_until(process: "subprocess.Popen[str]", expected: str) -> str:
    """The next line of the process's stderr that contains a text."""
    assert process.stderr is not None
    for line in process.stderr:
        if expected in line:
            return line.strip()
    raise AssertionError(f"{expected!r} did not come")


def test_waiting_is_explained_and_interrupted(database_url: str, tmp_path: Path) -> None:
    """The missing worker and a pause are named; Ctrl-C leaves the run, and says how to go on."""
    keywords = tmp_path / "keywords.csv"
    keywords.write_text("keyword,market\nflights,GB\n")
    commands(database_url, "keywords", "import", str(keywords))
    with subprocess.Popen(
        [sys.executable, "-m", "serpline.cli", "run", "start", "--wait"],
        env={**clean_environment(), "SERPLINE_DATABASE_URL": database_url},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            run_id = read_until(process, "started").split()[1]
            told_first = read_until(process, "UTC: ")
            assert "UTC: started by " in told_first
            assert "no worker is running: start one" in read_until(process, "no worker")
        finally:
            process.send_signal(signal.SIGINT)
            told = process.stderr.read() if process.stderr else ""
    assert process.returncode == 130, told
    assert f"run {run_id} goes on" in told
    assert f"run watch {run_id[:8]}" in told
    assert f"run cancel {run_id[:8]}" in told

    for verb in ("cancel", "retry", "pause"):
        commands(database_url, "run", verb, "latest")
    shown = json.loads(commands(database_url, "run", "show", "--json", "--events").stdout)
    assert [wait["cause"] for wait in shown["waits"]] == ["paused"]
    kinds = [event["event_type"] for event in shown["events"]]
    assert kinds == ["run.created", "run.cancel", "run.retry", "run.pause"]
    assert len({event["detail"]["by"] for event in shown["events"]}) == 1
    table = commands(database_url, "run", "show", "--events").stdout.decode()
    assert "paused by " in table
    assert "retried by " in table
