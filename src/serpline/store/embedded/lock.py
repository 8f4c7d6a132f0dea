"""File locks between processes: who starts the server, and whether any part of it lives.

Promise: a lock is held by an open descriptor and by every copy of it that a child inherited; the
kernel releases it when the last of them is closed, however the processes end. So a lock is never
stale, needs no pid, and holds across containers that share the disk.

Limits: local disks; a network disk without ``flock`` is refused with one line.
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
    """One open lock file; ``descriptor`` may be inherited by a child, which then holds it too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with one_line_errors(path):
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self) -> bool:
        """Whether the lock is now ours; never waits."""
        with one_line_errors(self._path):
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def close(self) -> None:
        """Let go of this copy."""
        os.close(self.descriptor)


@contextmanager
def opened(path: Path) -> Iterator[FileLock]:
    """The lock of ``path``, not yet acquired."""
    lock = FileLock(path)
    try:
        yield lock
    finally:
        lock.close()


@contextmanager
def held(path: Path, *, wait_seconds: float) -> Iterator[FileLock]:
    """The lock of ``path``, acquired; waits ``wait_seconds`` at most, then ``EmbeddedError``."""
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
