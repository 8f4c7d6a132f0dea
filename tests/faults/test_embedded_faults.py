"""The embedded server under kills, races, recycled pids, frozen processes and full disks."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from serpline.store.embedded import postmaster as postmasters
from serpline.store.embedded import server as embedded
from serpline.store.embedded.account import Account
from serpline.store.embedded.files import SOCKET_NAME
from serpline.store.embedded.lock import held, opened
from serpline.store.embedded.process import CONNECTIONS_MAX
from serpline.store.embedded.server import EmbeddedError, EmbeddedServer, ensure_server, find_server

ROOT = os.geteuid() == 0
LINUX = sys.platform == "linux"

# argv: data directory, when to die. "call NAME" and "return NAME" are moments of our own code.
STARTER = """
import contextlib, os, signal, sys, threading, time
from pathlib import Path
import psutil, psycopg
from serpline.store.embedded.server import ensure_server
data_dir, moment = Path(sys.argv[1]), sys.argv[2]
def die_at(frame, event, argument):
    if f"{event} {frame.f_code.co_name}" == moment:
        os.kill(os.getpid(), signal.SIGKILL)
def die_in_initdb():
    while not (data_dir / "postgres.new" / "PG_VERSION").exists():
        time.sleep(0.001)
    if moment == "initdb, all":
        os.killpg(0, signal.SIGKILL)
    for child in psutil.Process().children(recursive=True):
        # initdb comes first. A process that it started may have ended since.
        with contextlib.suppress(psutil.NoSuchProcess):
            child.suspend()
    os.kill(os.getpid(), signal.SIGKILL)
if moment.startswith("initdb"):
    threading.Thread(target=die_in_initdb, daemon=True).start()
print("imported", flush=True)
sys.stdin.readline()
sys.setprofile(die_at)
server = ensure_server(data_dir)
sys.setprofile(None)
with psycopg.connect(server.conninfo()) as connection:
    print(connection.execute("SELECT pg_postmaster_start_time()::text").fetchone()[0], flush=True)
sys.stdin.readline()
"""


@contextmanager
def starter(data_dir: Path, moment: str = "never") -> Iterator[subprocess.Popen[str]]:
    """A process in its own session that calls ensure_server after reading a line."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", STARTER, str(data_dir), moment],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "imported\n"
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    lines = (line for line in process.stdout if "action=" not in line)
    return next(lines).strip()


@pytest.fixture
def missing(tmp_path: Path) -> Iterator[Path]:
    """A data directory that does not exist yet."""
    path = tmp_path / "data"
    yield path
    server = find_server(path)
    if server is not None:
        server.stop()


@pytest.fixture(scope="module")
def once_used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose server has run and stopped, for copies."""
    path = tmp_path_factory.mktemp("once-used")
    server = ensure_server(path)
    server.stop()
    server.log_file.unlink()
    return path


@pytest.fixture
def data_dir(once_used: Path, missing: Path) -> Path:
    """A data directory with a cluster, whose server is not running."""
    subprocess.run(["cp", "-a", str(once_used), str(missing)], check=True)
    return missing


def ask(server: EmbeddedServer, query: str) -> str:
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])


def started_at(server: EmbeddedServer) -> str:
    return ask(server, "SELECT pg_postmaster_start_time()::text")


def starts(server: EmbeddedServer) -> int:
    return server.log_file.read_text().count("LOG:  starting PostgreSQL")


def keep_a_row(server: EmbeddedServer) -> None:
    with psycopg.connect(server.conninfo()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def postmaster(data_dir: Path) -> psutil.Process:
    recorded = (data_dir / "postgres" / "postmaster.pid").read_text()
    return psutil.Process(int(recorded.split()[0]))


def test_four_starters_make_one_server(missing: Path) -> None:
    """Four processes that start it at once reach the same server."""
    with (
        starter(missing) as a,
        starter(missing) as b,
        starter(missing) as c,
        starter(missing) as d,
    ):
        for process in (a, b, c, d):
            tell(process)
        answers = [answer(process) for process in (a, b, c, d)]
    server = find_server(missing)
    assert server is not None
    assert answers == [started_at(server)] * 4
    assert starts(server) == 1


def test_the_server_outlives_its_starter(data_dir: Path) -> None:
    """Killing the starter's process group leaves the server and its lock."""
    with starter(data_dir) as process:
        tell(process)
        before = answer(process)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    server = find_server(data_dir)
    assert server is not None
    assert started_at(server) == before
    with opened(data_dir / "postgres.alive") as alive:
        assert alive.acquire() is False
        server.stop()
        assert alive.acquire() is True


@pytest.mark.parametrize(
    "moment",
    [
        "initdb, all",
        "return initdb",
        "return spawn",
        "call _create_database",
    ],
)
def test_a_start_killed_anywhere_is_finished_by_the_next(missing: Path, moment: str) -> None:
    """The next call repairs what a starter leaves that was killed at any step."""
    with starter(missing, moment) as process:
        tell(process)
        assert process.wait() == -signal.SIGKILL
    server = ensure_server(missing)
    assert ask(server, "SELECT current_database()") == "serpline"
    assert not (missing / "postgres.new").exists()
    assert starts(server) == 1


def test_an_initdb_that_outlives_its_parent_is_waited_for(missing: Path) -> None:
    """An orphaned initdb keeps the start lock, so no process removes its files."""
    with starter(missing, "initdb, parent only") as process:
        tell(process)
        assert process.wait() == -signal.SIGKILL
        try:
            with opened(missing / "postgres.lock") as lock:
                assert lock.acquire() is False
        finally:
            os.killpg(process.pid, signal.SIGCONT)
    assert ask(ensure_server(missing), "SELECT current_database()") == "serpline"
    assert not (missing / "postgres.new").exists()


def test_a_killed_server_loses_nothing_committed(data_dir: Path) -> None:
    """After kill -9 of a busy server the next call recovers every commit."""
    server = ensure_server(data_dir)
    keep_a_row(server)
    with psycopg.connect(server.conninfo()) as busy:
        busy.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
        postmaster(data_dir).kill()
        again = ensure_server(data_dir)
        with pytest.raises(psycopg.OperationalError):
            busy.execute("SELECT 1")
    assert again == server
    assert ask(again, "SELECT array_agg(answer) FROM kept") == "[42]"
    assert starts(again) == 2


@contextmanager
def innocent(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An unrelated process of the server's user."""
    account = Account.current()
    process = subprocess.Popen(
        ["/bin/sleep", "600"],
        cwd=directory,
        user=account.uid if account.other else None,
        group=account.gid if account.other else None,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def plant(path: Path, text: str) -> None:
    account = Account.current()
    path.write_text(text)
    os.chown(path, account.uid, account.gid)


def test_a_recycled_pid_is_neither_trusted_nor_killed(data_dir: Path) -> None:
    """A stale postmaster.pid that names another process is replaced; the process survives."""
    server = ensure_server(data_dir)
    keep_a_row(server)
    recorded = (data_dir / "postgres" / "postmaster.pid").read_text()
    server.stop()
    with innocent(data_dir) as process:
        stale = "\n".join([str(process.pid), *recorded.split("\n")[1:]])
        plant(data_dir / "postgres" / "postmaster.pid", stale)
        plant(data_dir / "run" / f"{SOCKET_NAME}.lock", stale)
        assert find_server(data_dir) is None
        assert server.stop() is False
        assert ask(ensure_server(data_dir), "SELECT answer FROM kept") == "42"
        assert postmaster(data_dir).pid != process.pid
        assert process.poll() is None


def test_the_pid_of_another_server_is_left_alone(data_dir: Path, tmp_path: Path) -> None:
    """A stale postmaster.pid that names another directory's server does not harm that server."""
    subprocess.run(["cp", "-a", str(data_dir), str(tmp_path / "other")], check=True)
    other = ensure_server(tmp_path / "other")
    try:
        before = started_at(other)
        server = ensure_server(data_dir)
        server.stop()
        recorded = (tmp_path / "other" / "postgres" / "postmaster.pid").read_text()
        plant(data_dir / "postgres" / "postmaster.pid", recorded)
        assert server.stop() is False
        assert started_at(ensure_server(data_dir)) != before
        assert started_at(other) == before
    finally:
        other.stop()


@pytest.mark.skipif(not LINUX, reason="adopting orphans is Linux's prctl")
def test_a_zombie_is_no_server(data_dir: Path) -> None:
    """A zombie server blocks neither stop nor start."""
    adopt = ctypes.CDLL(None, use_errno=True).prctl
    assert adopt(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
    try:
        server = ensure_server(data_dir)
        dead = postmaster(data_dir)
        assert dead.ppid() == os.getpid()
        dead.kill()
        os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        assert dead.status() == psutil.STATUS_ZOMBIE
        assert starts(ensure_server(data_dir)) == 2
        stopped = postmaster(data_dir)
        assert server.stop() is True
        assert stopped.status() == psutil.STATUS_ZOMBIE
        os.waitpid(dead.pid, 0)
        os.waitpid(stopped.pid, 0)
    finally:
        adopt(36, 0, 0, 0, 0)


def test_a_removed_socket_is_repaired(data_dir: Path) -> None:
    """A server whose socket was deleted is restarted, with everything committed."""
    server = ensure_server(data_dir)
    keep_a_row(server)
    for path in server.socket_dir.iterdir():
        path.unlink()
    server.socket_dir.rmdir()
    assert find_server(data_dir) is None
    again = ensure_server(data_dir)
    assert again == server
    assert ask(again, "SELECT answer FROM kept") == "42"
    assert starts(again) == 2


def test_a_server_that_cannot_start_gives_a_reason(data_dir: Path) -> None:
    """A broken configuration gives one line with PostgreSQL's reason, and is repairable."""
    server = ensure_server(data_dir)
    server.stop()
    configuration = data_dir / "postgres" / "postgresql.conf"
    good = configuration.read_bytes()
    configuration.write_bytes(good + b"\nshared_buffers = 'lots'\n")
    with pytest.raises(EmbeddedError) as caught:
        ensure_server(data_dir)
    assert str(caught.value).isprintable()
    assert "PostgreSQL did not start: configuration file" in str(caught.value)
    configuration.write_bytes(good)
    assert ensure_server(data_dir) == server


def test_the_wait_for_a_frozen_server_is_limited(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for a suspended server is limited, and the server stays unchanged."""
    before = started_at(ensure_server(data_dir))
    monkeypatch.setattr(embedded, "START_SECONDS_MAX", 0.1)
    monkeypatch.setattr(embedded, "CONNECT_SECONDS_MAX", 1)
    frozen = postmaster(data_dir)
    frozen.suspend()
    try:
        with pytest.raises(EmbeddedError, match=r"has not answered for 0\.1 s .*timeout"):
            ensure_server(data_dir)
    finally:
        frozen.resume()
    assert started_at(ensure_server(data_dir)) == before


def test_a_server_that_does_not_stop_is_forced(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGINT, then SIGQUIT, then SIGKILL; the next start has everything committed."""
    server = ensure_server(data_dir)
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    monkeypatch.setattr(postmasters, "QUIT_AFTER_SECONDS", 0.1)
    monkeypatch.setattr(postmasters, "KILL_AFTER_SECONDS", 0.3)
    frozen = postmaster(data_dir)
    parts = [frozen, *frozen.children(recursive=True)]
    frozen.suspend()
    assert server.stop()
    assert [part.pid for part in parts if postmasters.is_alive(part.pid)] == []
    with psycopg.connect(ensure_server(data_dir).conninfo()) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_a_server_that_hangs_is_replaced(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that neither answers nor works is restarted automatically."""
    before = started_at(ensure_server(data_dir))
    monkeypatch.setattr(embedded, "HANG_SECONDS_MAX", 0.3)
    monkeypatch.setattr(embedded, "CONNECT_SECONDS_MAX", 1)
    monkeypatch.setattr(postmasters, "QUIT_AFTER_SECONDS", 0.1)
    monkeypatch.setattr(postmasters, "KILL_AFTER_SECONDS", 0.3)
    # Silent, like a server that waits for a lost child, but not suspended.
    monkeypatch.setattr(postmasters.Postmaster, "is_suspended", lambda _: False)
    postmaster(data_dir).suspend()
    assert started_at(ensure_server(data_dir)) != before


def test_reads_need_no_helper(data_dir: Path) -> None:
    """There is no I/O worker, because its death could block the server for ever."""
    with psycopg.connect(ensure_server(data_dir).conninfo()) as connection:
        assert connection.execute("SHOW io_method").fetchone() == ("sync",)


def test_too_many_clients_cause_no_restart(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all connections in use the call raises, and the running sessions stay."""
    server = ensure_server(data_dir)
    taken = [psycopg.connect(server.conninfo()) for _ in range(CONNECTIONS_MAX)]
    try:
        monkeypatch.setattr(embedded, "START_SECONDS_MAX", 0.1)
        with pytest.raises(EmbeddedError, match="too many clients already"):
            ensure_server(data_dir)
        assert taken[-1].execute("SELECT 1").fetchone() == (1,)
    finally:
        for connection in taken:
            connection.close()
    assert starts(server) == 1


def test_every_wait_for_another_process_is_limited(
    missing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A held start lock or an invisible server gives one line, not a hang."""
    missing.mkdir(mode=0o700)
    monkeypatch.setattr(embedded, "START_SECONDS_MAX", 0.1)
    monkeypatch.setattr(postmasters, "STOP_SECONDS_MAX", 0.1)
    monkeypatch.setattr(embedded, "LOCK_SECONDS_MAX", 0.1)
    absent = EmbeddedServer(missing, missing / "run")
    with held(missing / "postgres.lock", wait_seconds=1):
        with pytest.raises(EmbeddedError, match=r"another process has been starting .* 0\.1 s"):
            ensure_server(missing)
        with pytest.raises(EmbeddedError, match="another process"):
            absent.stop()
    with opened(missing / "postgres.alive") as alive:
        assert alive.acquire()
        with pytest.raises(EmbeddedError, match=r"has not answered for 0\.1 s \(it does not exist"):
            ensure_server(missing)
        with pytest.raises(EmbeddedError, match=r"still runs after 0\.1 s"):
            absent.stop()
    assert not (missing / "postgres").exists()


@pytest.mark.skipif(not (ROOT and LINUX), reason="mounts a small tmpfs")
def test_a_disk_that_fills_up_stops_the_writer_only(tmp_path: Path) -> None:
    """A full disk fails the statement; the server survives and continues when space is free."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=90m,mode=0755", "serpline-test", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.strip()}")
    try:
        server = ensure_server(disk / "data")
        try:
            with psycopg.connect(server.conninfo(), autocommit=True) as connection:
                connection.execute("CREATE UNLOGGED TABLE big (filler text)")
                with pytest.raises(psycopg.errors.DiskFull):
                    connection.execute(
                        "INSERT INTO big SELECT repeat('x', 1000) FROM generate_series(1, 200000)"
                    )
                connection.execute("TRUNCATE big")
                connection.execute("INSERT INTO big VALUES ('room again')")
            assert starts(ensure_server(disk / "data")) == 1
        finally:
            server.stop()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
