"""Run PostgreSQL's own programs, and rotate the server's log.

Promise: the server has its own session and outlives the process that started it. Commands are
argument lists; a shell never interprets a path.
"""

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

from serpline.store.embedded.account import Account, EmbeddedError
from serpline.store.embedded.files import Layout, make_private, one_line_errors, shown
from serpline.store.embedded.lock import FileLock
from serpline.store.embedded.programs import Programs, as_account

CONNECTIONS_MAX = 100
LOG_BYTES_MAX = 8 * 1024 * 1024
INITDB_SECONDS_MAX = 120.0
# The server runs in the background and is not our child, so it leaves no zombie.
_DETACH = '"$@" >&2 & echo $!'


def initdb(layout: Layout, account: Account, lock: FileLock, found: Programs) -> None:
    """Create the cluster in another directory and rename it, so a kill leaves no partial cluster.

    The child inherits the start lock, so an initdb whose parent was killed finishes before another
    process removes its files.
    """
    account = account.named()
    fresh = layout.unfinished
    with one_line_errors(fresh):
        if fresh.exists():
            shutil.rmtree(fresh)
    make_private(fresh, account)
    command = [
        str(found.folder / "initdb"),
        f"--pgdata={'/proc/self/cwd' if account.needs_open_dirs else fresh}",
        "--username=postgres",
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        "--locale=C",
    ]
    if found.major >= 17:
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    with one_line_errors(fresh):
        try:
            done = subprocess.run(  # noqa: S603  an argument list
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=INITDB_SECONDS_MAX,
                pass_fds=(lock.descriptor,),
                check=False,
                **as_account(account, fresh),
            )
        except subprocess.TimeoutExpired:
            raise EmbeddedError(
                f"data directory {shown(fresh)}: initdb took over {INITDB_SECONDS_MAX:.0f} s"
            ) from None
        if done.returncode != 0:
            shutil.rmtree(fresh)
            raise EmbeddedError(
                f"data directory {shown(fresh)}: {reason(done.stderr.decode(errors='replace'))}"
            )
        fresh.rename(layout.cluster)
        _sync_directory(layout.data_dir)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def spawn(
    layout: Layout, account: Account, socket_dir: Path, alive: FileLock, found: Programs
) -> int:
    """Start ``postgres`` in its own session; returns its pid without waiting until it is ready."""
    with one_line_errors(layout.data_dir), ExitStack() as stack:
        sockets = os.open(socket_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, sockets)
        log = os.open(layout.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, log)
        command = [
            str(found.folder / "postgres"),
            f"-D{'/proc/self/cwd' if account.needs_open_dirs else layout.cluster}",
        ]
        options = _options(
            f"/proc/self/fd/{sockets}" if account.needs_open_dirs else str(socket_dir)
        )
        if found.major >= 18:
            # With the default, "worker", the server can wait for ever for a killed I/O worker. With
            # "sync" reads wait for the disk themselves. Measured: no slower.
            options["io_method"] = "sync"
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        done = subprocess.run(  # noqa: S603  a fixed script; the paths are its arguments
            ["/bin/sh", "-c", _DETACH, "sh", *command],
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            pass_fds=(alive.descriptor, sockets),
            check=False,
            **as_account(account, layout.cluster),
        )
    return int(done.stdout)


def _options(socket_dir: str) -> dict[str, str]:
    quoted = socket_dir.replace('"', '""')
    return {
        "listen_addresses": "",
        "unix_socket_directories": f'"{quoted}"',
        "unix_socket_permissions": "0700",
        "max_connections": str(CONNECTIONS_MAX),
        "log_checkpoints": "off",
        "log_line_prefix": "%m [%p] ",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }


def rotate_log(path: Path) -> None:
    """Copy the newest ``LOG_BYTES_MAX`` of the log to ``.1``, then truncate it.

    The server appends (``O_APPEND``), so truncation is safe. Lines written between the copy and the
    truncation are lost. One caller at a time.
    """
    with one_line_errors(path, "log file"), path.open("r+b") as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(size - LOG_BYTES_MAX, 0))
        older = os.open(
            path.with_name(path.name + ".1"),
            os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC,
            0o600,
        )
        with open(older, "wb") as target:
            target.write(log.read(LOG_BYTES_MAX))
        log.truncate(0)


def log_since(path: Path, offset: int) -> str:
    """Return the log after ``offset`` bytes, at most ``LOG_BYTES_MAX``."""
    with one_line_errors(path, "log file"), path.open("rb") as log:
        log.seek(offset)
        return log.read(LOG_BYTES_MAX).decode(errors="replace")


def log_is_full(path: Path) -> bool:
    """Whether the log is larger than ``LOG_BYTES_MAX``."""
    try:
        return path.stat().st_size > LOG_BYTES_MAX
    except FileNotFoundError:
        return False


def reason(output: str) -> str:
    """Return the line of PostgreSQL's output that explains its failure."""
    if "No space left on device" in output:
        return "the disk is full"
    if "Read-only file system" in output:
        return "the disk is read-only"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for mark in ("PANIC:", "FATAL:", "error:", "could not", "terminated by"):
        for line in reversed(lines):
            if mark in line:
                return line.partition(mark)[2].strip() if mark.endswith(":") else line
    return lines[-1] if lines else "it ended without a message"
