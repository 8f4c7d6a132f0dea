"""Bytes too many for memory, in a temporary file without a name (in ``TMPDIR``, else /var/tmp).

Promise: the file goes with the last who refers to it, so nobody has to close it; each reader has a
position of its own, so one thread may parse what another compresses.
"""

import io
import os
from tempfile import TemporaryFile
from typing import Any, BinaryIO

READ_BYTES = 64 * 1024
ON_DISK = "/var/tmp"  # noqa: S108  the file has no name to be forged


class Spool:
    """An append-only file. Raises ``OSError`` where the disk does."""

    def __init__(self) -> None:
        with TemporaryFile(buffering=0, dir=_directory()) as file:
            self._fd = os.dup(file.fileno())
        self.size_bytes = 0

    def __repr__(self) -> str:
        return f"<Spool {self.size_bytes} bytes>"

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def write(self, data: bytes) -> None:
        """Append all of ``data``, or, when that raises, nothing."""
        left, at = memoryview(data), self.size_bytes
        while left:
            written = os.pwrite(self._fd, left, at)
            left, at = left[written:], at + written
        self.size_bytes = at

    def read_at(self, at: int, size: int) -> bytes:
        """At most ``size`` bytes from the position ``at``."""
        return os.pread(self._fd, min(size, self.size_bytes - at), at)

    def open(self) -> BinaryIO:
        """A reader, at the beginning."""
        return io.BufferedReader(_Reader(self), READ_BYTES)


def _directory() -> str | None:
    # The usual directory may lie in memory, and to keep out of that is what a spool is for.
    given = "TMPDIR" in os.environ or not os.access(ON_DISK, os.W_OK)
    return None if given else ON_DISK


class _Reader(io.RawIOBase):
    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._spool.read_at(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
