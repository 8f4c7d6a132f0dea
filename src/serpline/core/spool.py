"""Bytes too large for memory, in an unnamed temporary file (in ``TMPDIR``, else /var/tmp).

Promise: the file is deleted with its last reference, so no caller closes it. Each reader has its
own position, so one thread may parse while another compresses.
"""

import io
import os
from tempfile import TemporaryFile
from typing import Any, BinaryIO

READ_BYTES = 64 * 1024
DISK_DIRECTORY = "/var/tmp"  # noqa: S108  the file has no name to forge


class Spool:
    """An append-only file. Raises ``OSError`` where the disk does."""

    def __init__(self) -> None:
        with TemporaryFile(buffering=0, dir=disk_directory()) as file:
            self._fd = os.dup(file.fileno())
        self.size_bytes = 0

    def __repr__(self) -> str:
        return f"<Spool {self.size_bytes} bytes>"

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def write(self, data: bytes) -> None:
        """Append all of ``data``, or nothing if it raises."""
        left, at = memoryview(data), self.size_bytes
        while left:
            written = os.pwrite(self._fd, left, at)
            left, at = left[written:], at + written
        self.size_bytes = at

    def read_at(self, at: int, size: int) -> bytes:
        """Read at most ``size`` bytes from position ``at``."""
        return os.pread(self._fd, min(size, self.size_bytes - at), at)

    def open(self) -> BinaryIO:
        """A reader, at the beginning."""
        return io.BufferedReader(_Reader(self), READ_BYTES)


def disk_directory() -> str | None:
    """The directory of temporary files that is not in memory; None: the default one."""
    # The default directory may be in memory, which a spool must not use.
    is_given = "TMPDIR" in os.environ or not os.access(DISK_DIRECTORY, os.W_OK)
    return None if is_given else DISK_DIRECTORY


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
