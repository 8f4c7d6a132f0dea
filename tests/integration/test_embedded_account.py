"""Root's embedded server runs as an account that no other process has."""

import ctypes
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from serpline.store.embedded import account as embedded_account
from serpline.store.embedded.account import SERVER_ID, Account, EmbeddedError
from serpline.store.embedded.postmaster import is_alive
from serpline.store.embedded.server import EmbeddedServer, ensure_server, find_server

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root's server has another account"),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
_FORKS = get_context("fork")
PR_CAPBSET_DROP, CAP_SYS_PTRACE = 24, 19
CLIENT = {"user": "postgres", "dbname": "serpline", "port": "5432", "connect_timeout": 5}


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "data"
    yield path
    server = find_server(path)
    if server is not None:
        server.stop()


@contextmanager
def started(uid: int, gid: int, act: Callable[[], list[str]]) -> Iterator[Callable[[], list[str]]]:
    """Run ``act`` in a process of that user and group; yields a function for its result."""
    ours, theirs = _FORKS.Pipe()

    def child(to: Connection) -> None:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
        to.send([])
        to.send(act())

    process = _FORKS.Process(target=child, args=(theirs,))
    process.start()
    theirs.close()
    ours.recv()
    try:
        yield ours.recv
    finally:
        ours.close()
        process.join()


def as_user(uid: int, gid: int, act: Callable[[], list[str]]) -> list[str]:
    with started(uid, gid, act) as result:
        return result()


def processes(server: EmbeddedServer) -> list[int]:
    pid = int((server.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def ways_in(pid: int) -> Iterator[str]:
    """The directories of ``/proc`` that lead to the process's files."""
    yield from (f"/proc/{pid}/cwd", f"/proc/{pid}/root", f"/proc/{pid}/task/{pid}/cwd")
    with suppress(OSError):
        yield from (f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd"))


def trespass(
    server: EmbeddedServer, pids: list[int], shared: list[str], started_at: str
) -> list[str]:
    """Try every way to the server's data; returns those that succeeded.

    Another PostgreSQL may listen on loopback: ours is the one that started at this time.
    """
    opened = []
    hosts = [str(server.socket_dir), "127.0.0.1", "::1"]
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, 0)
            opened.append(f"{pid}: may be signalled")
        for name in ("environ", "mem", "maps"):
            with suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as file:
                file.read(1)
                opened.append(f"{pid}: {name}")
        for way in ways_in(pid):
            with suppress(OSError):
                os.listdir(way)
                if not way.endswith("/root"):
                    opened.append(way)
            with suppress(OSError), open(f"{way}/pg_hba.conf", "rb+"):
                opened.append(f"{way}: may be told to trust anyone")
            hosts += [way, f"{way}/../run", f"{way}{server.socket_dir}"]
    for host in hosts:
        with suppress(psycopg.Error), psycopg.connect(host=host, **CLIENT) as connection:
            found = connection.execute(
                "SELECT pg_postmaster_start_time()::text, rolsuper FROM pg_roles"
                " WHERE rolname = user"
            ).fetchone()
            if found is not None and found[0] == started_at:
                opened.append(f"{host}: connected, superuser {found[1]}")
    for segment in shared:
        with suppress(OSError), open(segment, "rb+"):
            opened.append(f"{segment}: open")
    return opened


def shared_memory(pid: int) -> list[str]:
    """The files of the shared memory of this process."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return sorted({word for word in maps.split() if word.startswith("/dev/shm/")})


def nobody() -> Account:
    entry = pwd.getpwnam("nobody")
    return Account("nobody", entry.pw_uid, entry.pw_gid, other=True)


def test_another_process_of_nobody_finds_no_way_in(data_dir: Path) -> None:
    """Access by socket, TCP, /proc, shared memory or signal is refused."""
    server = ensure_server(data_dir)
    pids = processes(server)
    shared = shared_memory(pids[0])
    process = psutil.Process(pids[0])
    uid, gid = process.uids().real, process.gids().real
    # The same ways lead in for a process of the server's own account.
    with psycopg.connect(server.conninfo()) as connection:
        row = connection.execute("SELECT pg_postmaster_start_time()::text").fetchone()
    assert row is not None
    told = (server, pids, shared, row[0])
    own = as_user(uid, gid, lambda: trespass(*told))
    assert any("superuser True" in way for way in own)
    assert any("trust anyone" in way for way in own)
    assert any(way.startswith("/dev/shm/") for way in own)
    for group in (nobody().gid, gid, 0):
        assert as_user(nobody().uid, group, lambda: trespass(*told)) == []


def descends(pid: int, ancestor: int) -> bool:
    """Whether the ancestor started the process, directly or indirectly."""
    with suppress(psutil.Error):
        return any(parent.pid == ancestor for parent in psutil.Process(pid).parents())
    return False


def watch(ended: Any) -> list[str]:
    """Inspect our parent's PostgreSQL processes until told to end; returns what was accessible."""
    seen: set[str] = set()
    parent = os.getppid()
    while not ended.is_set():
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                program = Path(f"/proc/{name}/comm").read_text().strip()
                if program in ("initdb", "postgres") and descends(int(name), parent):
                    seen.add(program)
                    if os.listdir(f"/proc/{name}/cwd"):
                        seen.add(f"{program}: open")
    return sorted(seen)


def test_nobody_has_no_access_during_a_first_start(data_dir: Path) -> None:
    """Initdb runs as nobody, because it needs a name, but in its own group."""
    ended = _FORKS.Event()
    with started(nobody().uid, nobody().gid, lambda: watch(ended)) as seen:
        try:
            ensure_server(data_dir)
        finally:
            ended.set()
        assert seen() == ["initdb", "postgres"]


def made_by_a_former_release(data_dir: Path) -> EmbeddedServer:
    """A server that runs as nobody and has a row."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Account, "current", classmethod(lambda _: nobody()))
        patch.setattr(Account, "check_exclusive", lambda _: None)
        server = ensure_server(data_dir)
        with psycopg.connect(server.conninfo()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    return server


def owners(top: Path) -> set[tuple[int, int]]:
    paths = [top, *top.rglob("*")]
    return {(status.st_uid, status.st_gid) for status in (path.lstat() for path in paths)}


def check_moved(data_dir: Path) -> None:
    server = ensure_server(data_dir)
    with psycopg.connect(server.conninfo()) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert owners(data_dir / "postgres") == owners(server.socket_dir) == {(SERVER_ID, SERVER_ID)}
    assert {psutil.Process(pid).uids().real for pid in processes(server)} == {SERVER_ID}
    assert ensure_server(data_dir) == server


def test_an_older_releases_server_moves_to_its_own_account(data_dir: Path) -> None:
    """A server of nobody is stopped, and its files change owner without loss."""
    server = made_by_a_former_release(data_dir)
    assert owners(data_dir / "postgres") == {(nobody().uid, nobody().gid)}
    link, target = data_dir / "postgres" / "pg_stat" / "link", data_dir / "postgres.lock"
    link.symlink_to(target)
    os.chown(link, nobody().uid, nobody().gid, follow_symlinks=False)
    before = processes(server)[0]
    check_moved(data_dir)
    assert not is_alive(before)
    assert target.stat().st_uid == 0


def test_a_killed_move_is_completed(data_dir: Path) -> None:
    """The cluster's directory changes owner last, so an incomplete move is repeated."""
    made_by_a_former_release(data_dir).stop()
    for half in ("base", "global"):
        for path in (data_dir / "postgres" / half).rglob("*"):
            os.chown(path, SERVER_ID, SERVER_ID)
    check_moved(data_dir)


def test_an_id_in_use_is_refused(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a user has the server's id, one line states it and nothing starts."""
    daemon = pwd.getpwnam("daemon")
    monkeypatch.setattr(embedded_account, "SERVER_ID", daemon.pw_uid)
    with pytest.raises(EmbeddedError, match=f"^user id {daemon.pw_uid} belongs to daemon"):
        ensure_server(data_dir)
    assert not (data_dir / "postgres").exists()


def without_ptrace() -> None:
    """As root in most containers: other users' processes cannot be inspected."""
    assert ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0) == 0


def test_root_of_a_container_knows_and_stops_its_server(data_dir: Path) -> None:
    """Without CAP_SYS_PTRACE, which containers rarely have, it still identifies the server."""
    script = (
        "import sys; from pathlib import Path\n"
        "from serpline.store.embedded.server import ensure_server, find_server\n"
        "from serpline.store.embedded.files import Layout\n"
        "from serpline.store.embedded.postmaster import Postmaster\n"
        "server, other = (ensure_server(Path(name)) for name in sys.argv[1:])\n"
        "of = {Postmaster.find(Layout.of(one.data_dir)).pid for one in (server, other)}\n"
        "recorded = server.data_dir / 'postgres' / 'postmaster.pid'\n"
        "own, theirs = recorded.read_bytes(), other.data_dir / 'postgres' / 'postmaster.pid'\n"
        "recorded.write_bytes(theirs.read_bytes())\n"
        "misled = Postmaster.find(Layout.of(server.data_dir))\n"
        "recorded.write_bytes(own)\n"
        "print(len(of), misled, server.stop(), find_server(server.data_dir), other.stop())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(data_dir), str(data_dir) + "2"],
        preexec_fn=without_ptrace,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["2 None True None True"], done.stderr
