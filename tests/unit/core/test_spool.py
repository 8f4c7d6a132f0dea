"""Bytes on disk without a name."""

import gc
import os
from pathlib import Path

import pytest

from serpline.core.spool import Spool


def test_readers_have_their_own_position() -> None:
    """Each reader reads everything appended, while more is appended."""
    spool = Spool()
    spool.write(b"ab" * 100_000)
    first, second = spool.open(), spool.open()
    assert first.read(3) == b"aba"
    spool.write(b"end")
    assert second.read() == b"ab" * 100_000 + b"end"
    assert first.read()[-4:] == b"bend"
    assert spool.size_bytes == 200_003


def test_the_file_goes_with_its_last_reader() -> None:
    """The directory has no name for it, and the last reference closes the descriptor."""
    descriptors = Path("/proc/self/fd")
    gc.collect()
    before = len(os.listdir(descriptors))
    spool = Spool()
    spool.write(b"abc")
    reader = spool.open()
    del spool
    assert reader.read() == b"abc"
    assert len(os.listdir(descriptors)) == before + 1
    del reader
    assert len(os.listdir(descriptors)) == before


def test_a_full_disk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half-way leaves the earlier content."""
    spool = Spool()
    spool.write(b"whole")
    write = os.pwrite
    left = iter([2])

    def full(descriptor: int, data: memoryview, at: int) -> int:
        for size in left:
            return write(descriptor, data[:size], at)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        spool.write(b"more")
    assert spool.open().read() == b"whole"
