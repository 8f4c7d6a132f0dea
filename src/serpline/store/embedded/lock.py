"""File locks between processes: who may start the server, and whether any part of it is alive.

Promise: an open descriptor holds the lock, and so does every copy that a child inherits. The kernel
releases it when the last one is closed, however the processes end. So a lock is never stale, needs
no pid, and works across containers that share the disk.

Limits: local disks only. A network disk without ``flock`` is refused with one line.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serpline.store.embedded.account import EmbeddedError
from serpline.store.embedded.files import one_line_errors, shown

POLL_SECONDS = 0.02


class FileLock:
    """An open lock file. A child that inherits ``descriptor`` holds the lock too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with one_line_errors(path):
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self) -> bool:
        """Try to take the lock without waiting; True if it is held."""
        with one_line_errors(self._path):
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def close(self) -> None:
        """Close this copy of the descriptor."""
        os.close(self.descriptor)


@contextmanager
def opened(path: Path) -> Iterator[FileLock]:
    """Open the lock of ``path`` without acquiring it."""
    lock = FileLock(path)
    try:
        yield lock
    finally:
        lock.close()


@contextmanager
def held(path: Path, *, wait_seconds: float) -> Iterator[FileLock]:
    """Acquire the lock of ``path``; ``EmbeddedError`` after ``wait_seconds``."""
    with opened(path) as lock:
        deadline = time.monotonic() + wait_seconds
        while not lock.acquire():
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"data directory {shown(path.parent)}: another process has been starting or "
                    f"stopping its server for {wait_seconds:g} s"
                )
            time.sleep(POLL_SECONDS)
        yield lock
