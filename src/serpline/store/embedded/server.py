"""The embedded PostgreSQL: start it or find it below the user's data directory.

Promise: ``ensure_server`` returns a server that answers. Many processes may call it at once; they
share one server, which outlives them. The next call repairs a kill at any instant (of the starting
process, of initdb, of the server). Only this user can connect: there is no TCP port, only the
server's account can enter the socket's directory, and no other process has that account
(``account``). Only our own server is ever signalled.

Limits: one machine, a local disk, Linux or macOS. Calls block; in async code, call them from a
thread. A new major version of PostgreSQL needs a dump and a restore.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import errors as pg_errors
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy import URL

from serpline.core.logging import get
from serpline.store.embedded import files as files
from serpline.store.embedded import process as processes
from serpline.store.embedded.account import Account, EmbeddedError
from serpline.store.embedded.files import Layout, shown
from serpline.store.embedded.lock import POLL_SECONDS, FileLock, held, opened
from serpline.store.embedded.postmaster import (
    STOP_SECONDS_MAX,
    Postmaster,
    identity,
    is_alive,
    is_ready,
    recorded_identity,
    stop_server,
)
from serpline.store.embedded.programs import programs

__all__ = ["EmbeddedError", "EmbeddedServer", "ensure_server", "find_server"]

DATABASE = "serpline"
START_SECONDS_MAX = 60.0
# A live server that neither answers nor works for this long is replaced.
HANG_SECONDS_MAX = 30.0
CONNECT_SECONDS_MAX = 5
ASK_SECONDS = 1.0
# A starting process may run initdb and wait for crash recovery; others wait for it.
LOCK_SECONDS_MAX = processes.INITDB_SECONDS_MAX + START_SECONDS_MAX + STOP_SECONDS_MAX
_FULL = "too many clients"  # an answer, so the server works
_PORT = "5432"  # only part of the socket's name; stated so that PGPORT cannot change it

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A server that answered when this object was made."""

    data_dir: Path
    socket_dir: Path

    def url(self, database: str = DATABASE) -> str:
        """Return SQLAlchemy's URL of a database of this server, percent-encoded."""
        return URL.create(
            "postgresql+psycopg",
            username="postgres",
            database=database,
            query={"host": str(self.socket_dir), "port": _PORT},
        ).render_as_string(hide_password=False)

    def conninfo(self, database: str = DATABASE) -> str:
        """Return libpq's connection string of a database of this server."""
        return make_conninfo(
            host=str(self.socket_dir), port=_PORT, user="postgres", dbname=database
        )

    @property
    def log_file(self) -> Path:
        """The server's log; its older part is beside it, with ``.1`` appended."""
        return Layout.of(self.data_dir).log

    def rotate_log(self) -> bool:
        """Rotate the log if it is full; returns whether it was. For long-lived processes."""
        return _rotate(Layout.of(self.data_dir))

    def stop(self) -> bool:
        """Shut the server down for all its users; False if it was not running.

        Sessions end; everything committed is kept. A shutdown that hangs is forced after
        ``QUIT_AFTER_SECONDS`` and ``KILL_AFTER_SECONDS``. Raises ``EmbeddedError`` if the server
        still runs after ``STOP_SECONDS_MAX``.
        """
        layout = Layout.of(self.data_dir)
        if not layout.data_dir.exists():
            return False
        with held(layout.lock, wait_seconds=LOCK_SECONDS_MAX):
            return stop_server(layout)


def ensure_server(data_dir: Path, postgres_bin: Path | None = None) -> EmbeddedServer:
    """Start the server of ``data_dir``, or find the running one; creates what is missing.

    ``postgres_bin``: the folder of PostgreSQL's programs, instead of the wheel's.
    Raises ``EmbeddedError``, one line, if that is impossible here.
    """
    layout = Layout.of(data_dir)
    account = Account.current()
    files.prepare_data_dir(layout, account)
    server, _ = _try_connect(layout, account)
    if server is None:
        with held(layout.lock, wait_seconds=LOCK_SECONDS_MAX) as lock:
            server = _start(layout, account, lock, postgres_bin)
    else:
        _rotate(layout)
    _create_database(server)
    return server


def find_server(data_dir: Path) -> EmbeddedServer | None:
    """Return the server of ``data_dir`` if it runs and answers; start and create nothing."""
    return _try_connect(Layout.of(data_dir), Account.current())[0]


def _try_connect(layout: Layout, account: Account) -> tuple[EmbeddedServer | None, str]:
    """Return the server at our socket, if it is proved to be ours; else None and why."""
    if not files.check_cluster(layout, account):
        return None, "it does not exist"
    for directory in layout.socket_dirs():
        if not files.is_trusted(layout, directory, account):
            continue
        if not (directory / files.SOCKET_NAME).is_socket():
            continue
        server = EmbeddedServer(layout.data_dir, directory)
        try:
            with psycopg.connect(
                server.conninfo("postgres"), connect_timeout=CONNECT_SECONDS_MAX
            ) as connection:
                row = connection.execute("SELECT pg_read_binary_file('postmaster.pid')").fetchone()
        except psycopg.Error as error:
            return None, _one_line(error)
        if row is not None and identity(row[0]) == recorded_identity(layout):
            return server, ""
        return None, f"the server at {shown(directory)} works on other files"
    return None, "it has no socket"


class _Probe:
    """Connects to a server repeatedly, but at most once in ``ASK_SECONDS`` until it is ready.

    A server that is not ready logs every connection that it refuses.
    """

    def __init__(self, layout: Layout, account: Account) -> None:
        self._layout = layout
        self._account = account
        self._next_at = 0.0
        self._why = ""

    def answer(self) -> tuple[EmbeddedServer | None, str]:
        """Return the result of ``_try_connect``; the last one if it is too soon to try again."""
        now = time.monotonic()
        if is_ready(self._layout) or now >= self._next_at:
            self._next_at = now + ASK_SECONDS
            server, self._why = _try_connect(self._layout, self._account)
            return server, self._why
        return None, self._why


def _start(
    layout: Layout, account: Account, lock: FileLock, postgres_bin: Path | None
) -> EmbeddedServer:
    """Wait for a server that is starting or stopping, or start one; needs the start lock."""
    account.check_exclusive()
    if files.check_cluster(layout, account) and not files.belongs_to(layout, account):
        stop_server(layout)  # an older release started it as nobody
    with opened(layout.alive) as alive:
        server = _wait_for_other(layout, account, alive)
        if server is not None:
            return server
        found = programs(account, postgres_bin)
        if not files.check_cluster(layout, account):
            processes.initdb(layout, account, lock, found)
        files.check_major(layout, found.major)
        files.hand_over(layout, account)
        socket_dir = files.make_socket_dir(layout, account)
        files.remove_leftovers(layout, socket_dir)
        if processes.log_is_full(layout.log):
            processes.rotate_log(layout.log)
        with files.one_line_errors(layout.log, "log file"):
            log_offset = layout.log.stat().st_size if layout.log.exists() else 0
        pid = processes.spawn(layout, account, socket_dir, alive, found)
    return _wait_ready(layout, account, pid, log_offset)


def _wait_for_other(layout: Layout, account: Account, alive: FileLock) -> EmbeddedServer | None:
    """Return the live server once it answers; None as soon as there is none, so one may be started.

    A server is alive if it holds the alive lock, or, if it was started by hand, if a process works
    in our cluster.
    """
    deadline = time.monotonic() + START_SECONDS_MAX
    probe = _Probe(layout, account)
    active_at, work = time.monotonic(), frozenset[tuple[object, ...]]()
    while True:
        postmaster = Postmaster.find(layout)
        if postmaster is None and alive.acquire():
            return None
        server, why = probe.answer()
        if server is not None:
            return server
        if postmaster is not None and is_ready(layout) and _unreachable(layout, account):
            stop_server(layout)
            continue
        if postmaster is not None and _FULL not in why and not postmaster.is_suspended():
            if (done := postmaster.work_done()) != work:
                work, active_at = done, time.monotonic()
            if time.monotonic() - active_at > HANG_SECONDS_MAX:
                _log.warning("embedded PostgreSQL hangs", action="embedded_hung", reason=why)
                stop_server(layout)
                continue
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"data directory {shown(layout.data_dir)}: its server has not answered for "
                f"{START_SECONDS_MAX:g} s ({why}); see {shown(layout.log)}"
            )
        time.sleep(POLL_SECONDS)


def _unreachable(layout: Layout, account: Account) -> bool:
    """Whether the running server's socket was removed, so that no one can connect any more."""
    files.make_socket_dir(layout, account)
    return not any((path / files.SOCKET_NAME).exists() for path in layout.socket_dirs())


def _wait_ready(layout: Layout, account: Account, pid: int, log_offset: int) -> EmbeddedServer:
    deadline = time.monotonic() + START_SECONDS_MAX
    probe = _Probe(layout, account)
    while True:
        was_alive = is_alive(pid)
        server, why = probe.answer()
        if server is not None:
            _log.info("embedded PostgreSQL started", action="embedded_started", pid=pid)
            return server
        if not was_alive:
            output = processes.log_since(layout.log, log_offset)
            raise EmbeddedError(
                f"data directory {shown(layout.cluster)}: PostgreSQL did not start: "
                f"{processes.reason(output)}"
            )
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"data directory {shown(layout.cluster)}: PostgreSQL was not ready after "
                f"{START_SECONDS_MAX:g} s ({why}); it is still starting, try again later"
            )
        time.sleep(POLL_SECONDS)


def _rotate(layout: Layout) -> bool:
    if not processes.log_is_full(layout.log):
        return False
    with opened(layout.lock) as lock:
        # Another holder is starting or stopping the server, or rotating its log.
        if not lock.acquire() or not processes.log_is_full(layout.log):
            return False
        processes.rotate_log(layout.log)
        return True


def _create_database(server: EmbeddedServer) -> None:
    try:
        with psycopg.connect(
            server.conninfo("postgres"), autocommit=True, connect_timeout=CONNECT_SECONDS_MAX
        ) as connection:
            known = connection.execute(
                "SELECT FROM pg_database WHERE datname = %s", (DATABASE,)
            ).fetchone()
            if known is None:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(
                        sql.Identifier(DATABASE)
                    )
                )
    except (pg_errors.DuplicateDatabase, pg_errors.UniqueViolation):
        return  # another process was faster
    except psycopg.Error as error:
        raise EmbeddedError(
            f"data directory {shown(server.data_dir)}: cannot create the database {DATABASE}: "
            f"{processes.reason(str(error))}"
        ) from error


def _one_line(error: Exception) -> str:
    """Return the error's text without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
