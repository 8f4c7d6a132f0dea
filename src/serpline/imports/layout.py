"""What was understood of a keyword file: its table, and the table's layout for people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from serpline.domain.keywords import shown
from serpline.imports.delimited import Record
from serpline.imports.encodings import Encoding
from serpline.imports.headers import Header


@dataclass(frozen=True, slots=True)
class Layout:
    """What was understood of a file, for people.

    ``format``: CSV, list or XLSX. ``part``: the sheet, or the file in an archive. ``header_line``:
    None for a list without one. ``lines_before``: lines above the header, such as a title.
    ``others``: sheets or files that have keywords too and are not read.
    """

    format: str
    part: str | None
    encoding: str | None
    encoding_guessed: bool
    delimiter: str | None
    header_line: int | None
    lines_before: int
    keyword: str | None
    market: str | None
    tags: str | None
    ignored: tuple[str, ...]
    others: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should check."""
        found = [f"encoding {self.encoding} is a guess"] if self.encoding_guessed else []
        if self.others:
            found.append(f"not read: {listed(self.others)}; only {self.part!r} was, the first")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Table:
    """A table's layout, its header, and its records below the header."""

    layout: Layout
    header: Header
    records: Iterator[Record]


def table_of(
    kind: str,
    part: str | None,
    used: Encoding | None,
    delimiter: str | None,
    header: Header | None,
    below: Iterator[Record],
) -> Table:
    """Return a table and describe it. ``header`` None: a list."""

    def name(index: int | None) -> str | None:
        return None if header is None or index is None else header.names[index]

    layout = Layout(
        format=kind,
        part=part,
        encoding=used.name if used else None,
        encoding_guessed=used.guessed if used else False,
        delimiter=delimiter,
        header_line=header.line if header else None,
        lines_before=header.position if header else 0,
        keyword=name(header.keyword if header else None),
        market=name(header.market if header else None),
        tags=name(header.tags if header else None),
        ignored=header.ignored if header else (),
    )
    return Table(layout, header or Header(-1, 0, ("",), 0), below)


def beside(table: Table, others: Sequence[str]) -> Table:
    """Return a table that names the others, which are not read."""
    return replace(table, layout=replace(table.layout, others=tuple(others)))


def listed(names: Sequence[str]) -> str:
    """Some names for a message."""
    return ", ".join(shown(name) for name in names[:10]) + (", …" if len(names) > 10 else "")
