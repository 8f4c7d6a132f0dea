"""What every format of a file shares: its name, its columns, and how cells become text."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from serpline.domain.errors import UserError

if TYPE_CHECKING:
    import polars as pl


class Format(StrEnum):
    """The format of a file."""

    CSV = "csv"
    XLSX = "xlsx"
    JSON = "json"
    PARQUET = "parquet"


BINARY: Final = frozenset({Format.XLSX, Format.PARQUET})


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file says of itself, and how a CSV is written.

    ``about``: facts such as the run and the filters, by name. ``columns``: descriptions, by name.
    ``documents``: columns whose texts are JSON.
    ``byte_order_mark``: Excel reads a CSV as UTF-8 only with it (since Excel 2007).
    ``decimal_comma``: semicolons between cells and decimal commas, as Excel expects where people
    write 0,5.
    """

    table: str
    about: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    documents: Sequence[str] = ()
    byte_order_mark: bool = False
    decimal_comma: bool = False


Writer = Callable[[Iterable["pl.DataFrame"], IO[bytes], Layout], int]
"""Writes frames of one schema, the first of which may be empty; returns the number of rows."""


def format_of(path: Path) -> Format:
    """Return the format that a file's name ends with. Raises ``UserError``."""
    try:
        return Format(path.suffix.lower().removeprefix("."))
    except ValueError:
        known = ", ".join(f".{each}" for each in Format)
        raise UserError(f"{path}: must end with one of {known}, or give --format") from None


def format_named(given: str) -> Format:
    """Return the format of a name. Raises ``UserError``."""
    try:
        return Format(given.strip().lower())
    except ValueError:
        raise UserError(f"format={given!r}: must be one of {', '.join(Format)}") from None


def as_cells(frame: "pl.DataFrame") -> "pl.DataFrame":
    """Join lists, which have no place in a cell, by semicolons: ``brand; travel``."""
    import polars as pl

    lists = [name for name, kind in frame.schema.items() if isinstance(kind, pl.List)]
    return frame.with_columns(
        pl.col(name).cast(pl.List(pl.String)).list.join("; ") for name in lists
    )
