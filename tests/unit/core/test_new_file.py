"""Facts about files that appear when they are complete."""

import os
import stat
from pathlib import Path

import pytest

from serpline.core.new_file import NewFile


def write(target: Path, text: bytes, *, overwrite: bool = False) -> int:
    new = NewFile(target, overwrite=overwrite)
    try:
        new.file.write(text)
        return new.commit()
    finally:
        new.abort()


def test_a_file_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    """Until the commit there is no file of that name; without it, nothing is left."""
    target = tmp_path / "figures.csv"
    abandoned = NewFile(target)
    abandoned.file.write(b"half")
    assert not target.exists()
    abandoned.abort()
    assert list(tmp_path.iterdir()) == []
    assert write(target, b"whole") == 5
    assert [path.name for path in tmp_path.iterdir()] == ["figures.csv"]
    assert target.read_bytes() == b"whole"


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_appears_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    """Without permission, a file is not replaced, whenever it was created."""
    target = tmp_path / "figures.csv"
    if not has_links:
        monkeypatch.setattr(os, "link", _no_links)
    new = NewFile(target)
    target.write_bytes(b"theirs")
    with pytest.raises(FileExistsError, match="--overwrite"):
        new.commit()
    new.abort()
    with pytest.raises(FileExistsError, match="--overwrite"):
        NewFile(target)
    assert target.read_bytes() == b"theirs"
    assert write(target, b"ours", overwrite=True) == 4
    assert target.read_bytes() == b"ours"


def test_a_file_taken_in_the_last_instant_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is taken and given in one step."""
    target = tmp_path / "figures.csv"
    new = NewFile(target)
    monkeypatch.setattr(new, "_check_free", lambda: target.write_bytes(b"theirs"))
    with pytest.raises(FileExistsError, match="--overwrite"):
        new.commit()
    new.abort()
    assert target.read_bytes() == b"theirs"


def test_a_link_keeps_naming_the_file(tmp_path: Path) -> None:
    """Writing to a symbolic link writes the file that it names."""
    (tmp_path / "link.csv").symlink_to("real.csv")
    write(tmp_path / "link.csv", b"rows")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_bytes() == b"rows"


def test_who_may_read_it(tmp_path: Path) -> None:
    """A file has the mode of other new files; a private one is for its owner."""
    write(tmp_path / "shared.csv", b"")
    (tmp_path / "usual").touch()
    assert mode(tmp_path / "shared.csv") == mode(tmp_path / "usual")
    new = NewFile(tmp_path / "private.backup", is_private=True)
    new.commit()
    assert mode(tmp_path / "private.backup") == 0o600
    (tmp_path / "shared.csv").chmod(0o640)
    write(tmp_path / "shared.csv", b"", overwrite=True)
    assert mode(tmp_path / "shared.csv") == 0o640


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _no_links(*_: object) -> None:
    raise OSError("this file system has no links")
