"""The backup file: a zip with a text file per table and a manifest with their checksums.

The promise: a file under its final name is complete. It is written beside it, flushed to disk and
renamed. ``ArchiveReader`` reads every byte first and compares it with the manifest: names, sizes,
row counts, SHA-256. A truncated, damaged or foreign file raises one ``UserError``. Only one block
is in memory at a time.

The limits: the checksums detect damage, not forgery. The file holds the whole project (but no
provider's key, which is never stored), so only its owner may read it; it is not encrypted. A
process killed half-way leaves ``.NAME.….partial`` behind.

A table's text is in PostgreSQL's COPY text format, where one line is one row.
"""

import contextlib
import errno
import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serpline.core.new_file import NewFile
from serpline.domain.errors import UserError

BLOCK_BYTES: Final = 1 << 20
MANIFEST_BYTES_MAX: Final = 1 << 20
_MANIFEST: Final = "manifest.json"
_COMPRESSION_LEVEL: Final = 3
_IDENTIFIER: Final = r"^[a-z][a-z0-9_]{0,62}$"
# Exceptions that reading a damaged zip raises; each was observed.
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    IndexError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TableEntry(_Model):
    """A table's text: its columns in order, and its checksums."""

    name: str = Field(pattern=_IDENTIFIER)
    columns: list[str]
    rows: int = Field(ge=0)
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class SequenceEntry(_Model):
    """The last value of an identity column."""

    table: str = Field(pattern=_IDENTIFIER)
    column: str = Field(pattern=_IDENTIFIER)
    value: int = Field(ge=1)


class Manifest(_Model):
    """The description of a backup. ``tables`` are in an order that respects foreign keys.

    ``revision``: the schema's (Alembic). ``server_version``: PostgreSQL's number, such as 180004.
    """

    format: Literal["serpline backup"] = "serpline backup"
    format_version: Literal[1] = 1
    serpline_version: str
    revision: str
    server_version: int
    created_at: datetime
    tables: list[TableEntry]
    sequences: list[SequenceEntry]


class ArchiveWriter:
    """Writes the tables, then the manifest, and then renames the file to its final name."""

    def __init__(self, target: Path, *, overwrite: bool = False) -> None:
        """Open a file beside ``target``. Raises ``UserError`` if it exists or cannot be written."""
        self._target = target
        with _writable(target):
            self._new_file = NewFile(target, overwrite=overwrite, is_private=True)
        self._zip = zipfile.ZipFile(
            self._new_file.file, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION_LEVEL
        )
        self._member: IO[bytes] | None = None
        self._sum = hashlib.sha256()
        self._rows = self._size_bytes = 0

    def begin(self, table: str) -> None:
        """Begin the text of ``table``."""
        self._sum = hashlib.sha256()
        self._rows = self._size_bytes = 0
        with _writable(self._target):
            self._member = self._zip.open(_member(table), "w", force_zip64=True)

    def write(self, block: bytes) -> None:
        """Write the next bytes of the table."""
        assert self._member is not None
        self._sum.update(block)
        self._rows += block.count(b"\n")
        self._size_bytes += len(block)
        with _writable(self._target):
            self._member.write(block)

    def end(self, table: str, columns: list[str]) -> TableEntry:
        """End the table; returns its entry for the manifest."""
        assert self._member is not None
        with _writable(self._target):
            self._member.close()
        return TableEntry(
            name=table,
            columns=columns,
            rows=self._rows,
            size_bytes=self._size_bytes,
            sha256=self._sum.hexdigest(),
        )

    def commit(self, manifest: Manifest) -> int:
        """Write the manifest and rename the file; returns its size in bytes."""
        with _writable(self._target):
            self._zip.writestr(_MANIFEST, manifest.model_dump_json(indent=1))
            self._zip.close()
            return self._new_file.commit()

    def abort(self) -> None:
        """Remove the unfinished file. After ``commit`` it does nothing."""
        # Close the file first: an open member would fail the zip's end, which is not needed.
        self._new_file.abort()
        with contextlib.suppress(OSError, ValueError):
            if self._member is not None:
                self._member.close()
        with contextlib.suppress(OSError, ValueError):
            self._zip.close()


class ArchiveReader:
    """A verified backup. Use it in a ``with`` block."""

    def __init__(self, path: Path) -> None:
        """Open and verify ``path`` by reading all of it. Raises ``UserError``."""
        self.path = path
        try:
            self._file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or error}") from None
        try:
            with _readable(path):
                self._zip = zipfile.ZipFile(self._file)
                self.manifest = self._read_manifest()
                self._check_names()
                for entry in self.manifest.tables:
                    for _ in self.blocks(entry):
                        pass
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "ArchiveReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._file.close()

    def blocks(self, entry: TableEntry) -> Iterator[bytes]:
        """Yield a table's text in blocks; ``UserError`` at the end if the manifest differs."""
        found = hashlib.sha256()
        rows = size_bytes = 0
        with _readable(self.path), self._zip.open(_member(entry.name)) as member:
            while block := member.read(BLOCK_BYTES):
                found.update(block)
                rows += block.count(b"\n")
                size_bytes += len(block)
                if size_bytes > entry.size_bytes:
                    raise ValueError(f"{entry.name} is longer than the manifest states")
                yield block
            whole = (rows, size_bytes, found.hexdigest())
            if whole != (entry.rows, entry.size_bytes, entry.sha256):
                raise ValueError(f"{entry.name} differs from the manifest")

    def _read_manifest(self) -> Manifest:
        if any(part.compress_type != zipfile.ZIP_DEFLATED for part in self._zip.infolist()):
            raise ValueError("a part has another compression")
        with self._zip.open(_MANIFEST) as member:
            text = member.read(MANIFEST_BYTES_MAX + 1)
        if len(text) > MANIFEST_BYTES_MAX:
            raise ValueError("its manifest is too long")
        return Manifest.model_validate_json(text)

    def _check_names(self) -> None:
        expected = sorted([_MANIFEST, *(_member(entry.name) for entry in self.manifest.tables)])
        if sorted(self._zip.namelist()) != expected:
            raise ValueError("its parts are not those of its manifest")


def _member(table: str) -> str:
    return f"tables/{table}.txt"


@contextmanager
def _writable(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, FileExistsError | IsADirectoryError):
            raise UserError(f"{target}: {error.strerror}") from None
        raise UserError(f"{target}: cannot be written: {error.strerror or error}") from None


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{path}: not a backup this serpline can read: {where}: {first['msg']}"
        ) from None
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: not a whole serpline backup: {reason}") from None
    except OSError as error:
        # A damaged directory may point to before the beginning of the file.
        what = "not a whole serpline backup" if error.errno == errno.EINVAL else "cannot be read"
        raise UserError(f"{path}: {what}: {error.strerror or error}") from None
