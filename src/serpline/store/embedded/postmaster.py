"""Find our server process, observe it and stop it.

Promise: only a ``postgres`` process whose current directory (from the operating system) is our
cluster is signalled, so a recycled pid is never hit.

Limits: a server in another container is not visible here. It keeps ``postgres.alive`` locked, which
still prevents a second server on the same files.
"""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from serpline.core.logging import get
from serpline.store.embedded.account import Account, EmbeddedError, user_name
from serpline.store.embedded.files import Layout, remove_socket_dir, shown
from serpline.store.embedded.lock import POLL_SECONDS, opened
from serpline.store.embedded.programs import as_account

STOP_SECONDS_MAX = 60.0
# A shutdown that hangs is forced: first without a checkpoint, then with SIGKILL.
QUIT_AFTER_SECONDS = 20.0
KILL_AFTER_SECONDS = 40.0
_HELPERS = ("startup", "checkpointer", "walwriter")

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A live server process whose current directory is our cluster."""

    process: psutil.Process

    @classmethod
    def find(cls, layout: Layout) -> "Postmaster | None":
        """Return the process in ``postmaster.pid`` if it is alive and works inside our cluster."""
        pid = _recorded_pid(layout)
        if pid is None:
            return None
        try:
            process = psutil.Process(pid)
            if process.name() == "postgres" and _works_in(process, layout.cluster):
                return cls(process)
        except (psutil.Error, OSError):
            return None
        return None

    @property
    def pid(self) -> int:
        """The process id."""
        return int(self.process.pid)

    def end(self, number: signal.Signals) -> None:
        """Send a signal: SIGINT for a fast shutdown, SIGQUIT for one without a checkpoint.

        SIGKILL goes to its children too, which might outlive it. All three keep everything
        committed; after the last two the next start runs crash recovery.
        """
        try:
            ended = [self.process]
            if number is signal.SIGKILL:
                ended += self.process.children(recursive=True)
            for process in ended:
                process.send_signal(number)
        except psutil.NoSuchProcess:
            return

    def is_suspended(self) -> bool:
        """Whether a person or a debugger has suspended it and may resume it."""
        try:
            status = self.process.status()
        except psutil.Error:
            return False
        return bool(status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP))

    def work_done(self) -> frozenset[tuple[object, ...]]:
        """Return its helpers' work counters, which change while a recovery or shutdown proceeds.

        Sessions are left out, because each of our own probes is one. I/O counters exist on Linux
        only, and only for users that may inspect the server's processes.
        """
        done: set[tuple[object, ...]] = set()
        for child in self._children():
            try:
                if any(name in " ".join(child.cmdline()) for name in _HELPERS):
                    done.add((child.pid, child.cpu_times()[:2]))
                    done.add((child.pid, child.io_counters()[:4]))
            except (psutil.Error, AttributeError):
                continue
        return frozenset(done)

    def _children(self) -> list[psutil.Process]:
        try:
            return list(self.process.children(recursive=True))
        except psutil.Error:
            return []


def _works_in(process: psutil.Process, directory: Path) -> bool:
    """Whether the process's current directory is ``directory``; a zombie has none."""
    try:
        return os.path.samefile(process.cwd(), directory)
    except psutil.AccessDenied:
        # Another user's process. Containers deny this to root too, without CAP_SYS_PTRACE. The
        # server's own account may read it.
        uid = process.uids().real
        if os.geteuid() != 0 or directory.stat().st_uid != uid:
            return False
        account = Account(user_name(uid), uid, process.gids().real, other=True)
        done = subprocess.run(  # noqa: S603  a fixed script; the pid is its argument
            ["/bin/sh", "-c", 'test "/proc/$1/cwd" -ef .', "sh", str(process.pid)],
            stderr=subprocess.DEVNULL,
            check=False,
            **as_account(account, directory),
        )
        return done.returncode == 0


def is_ready(layout: Layout) -> bool:
    """Whether ``postmaster.pid`` states that the server accepts connections."""
    return b"\nready" in _recorded(layout)


def _recorded(layout: Layout) -> bytes:
    try:
        return layout.postmaster_pid.read_bytes()
    except FileNotFoundError:
        return b""


def identity(postmaster_pid: bytes) -> list[bytes]:
    """Return pid, directory and start time: lines that are unique to a server."""
    return postmaster_pid.split(b"\n")[:3]


def recorded_identity(layout: Layout) -> list[bytes]:
    """Return the identity in ``postmaster.pid``; an empty line if there is none."""
    return identity(_recorded(layout))


def _recorded_pid(layout: Layout) -> int | None:
    try:
        pid = int(_recorded(layout).split(b"\n")[0])
    except ValueError:
        return None
    return pid if pid > 0 else None


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def stop_server(layout: Layout) -> bool:
    """Stop the server and wait until all of it has ended; returns whether it ran.

    The caller holds the start lock. Raises ``EmbeddedError`` after ``STOP_SECONDS_MAX``.
    """
    started_at = time.monotonic()
    signalled: int | None = None
    steps: list[tuple[float, signal.Signals]] = []
    with opened(layout.alive) as alive:
        while True:
            postmaster = Postmaster.find(layout)
            if postmaster is None and alive.acquire():
                break
            seconds = time.monotonic() - started_at
            if postmaster is not None and postmaster.pid != signalled:
                signalled = postmaster.pid
                steps = [
                    (0.0, signal.SIGINT),
                    (QUIT_AFTER_SECONDS, signal.SIGQUIT),
                    (KILL_AFTER_SECONDS, signal.SIGKILL),
                ]
            if postmaster is not None and steps and seconds >= steps[0][0]:
                _, number = steps.pop(0)
                if number is not signal.SIGINT:
                    _log.warning(
                        "embedded PostgreSQL does not stop", action="embedded_forced", signal=number
                    )
                postmaster.end(number)
            if seconds > STOP_SECONDS_MAX:
                raise EmbeddedError(
                    f"data directory {shown(layout.data_dir)}: its server still runs after "
                    f"{STOP_SECONDS_MAX:g} s; see {shown(layout.log)}"
                )
            time.sleep(POLL_SECONDS)
    if signalled is None:
        return False
    remove_socket_dir(layout)
    _log.info("embedded PostgreSQL stopped", action="embedded_stopped", pid=signalled)
    return True
