"""``serpline server status|stop`` and ``demo --clean`` on a real embedded server."""

import json
from pathlib import Path

from harness.commands import run_command

from serpline.store.embedded.server import ensure_server


def test_a_server_is_shown_stopped_and_removed(tmp_path: Path) -> None:
    """Status starts nothing; a directory that no demo made is not removed."""
    demo, own = tmp_path / "demo-1", tmp_path / "project"
    (demo / "logs").mkdir(parents=True)
    own.mkdir()

    def status() -> dict[str, object]:
        done = run_command("--data-dir", str(demo), "server", "status", "--json")
        shown: dict[str, object] = json.loads(done.stdout)
        return shown

    assert status()["running"] is False
    ensure_server(demo / "postgres")
    shown = status()
    assert (shown["running"], shown["answers"], shown["workers"]) == (True, True, 0)
    stopped = run_command("--data-dir", str(demo), "server", "stop")
    assert (stopped.returncode, stopped.stderr) == (0, b"stopped\n")
    assert status()["running"] is False
    ensure_server(demo / "postgres")
    refused = run_command("--data-dir", str(own), "demo", "--clean")
    assert refused.returncode == 2
    assert b"was not made by a demo" in refused.stderr
    cleaned = run_command("demo", "--clean", SERPLINE_DATA_DIR=str(tmp_path))
    assert cleaned.stderr.decode() == f"removed {demo}\n"
    assert (demo.exists(), own.exists()) == (False, True)
    yours = run_command("server", "stop", SERPLINE_DATABASE_URL="postgresql://x/y")
    assert yours.returncode == 2
    assert b"SERPLINE_DATABASE_URL is set" in yours.stderr
