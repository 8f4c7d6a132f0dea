"""Filters as people write them, and the selection of rows that they mean."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from datetime import date
from typing import Final
from uuid import UUID

from serpline.analysis.company_keys import company_key
from serpline.analysis.market_names import MarketNames
from serpline.domain.errors import UserError
from serpline.domain.keywords import keyword_key
from serpline.domain.names import ContentType, Device
from serpline.domain.results import Figure, Ranking, Row, Serp, ShareOfVoice, columns_of
from serpline.domain.text import composed
from serpline.store import keyword_sets, projects
from serpline.store.database import Connection
from serpline.store.results import reading, reports
from serpline.store.results.selection import EVERYTHING, Selection

LATEST: Final = "latest"
ALL: Final = "all"
RELATIONS: Final = ("ours", "competitor")
_HEX = frozenset("0123456789abcdef-")
# Rows of all runs together would count every search as often as it was made.
_OF_ONE_RUN: Final[tuple[type[Row], ...]] = (Ranking, Serp, Figure, ShareOfVoice)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a person asks for. Empty: all.

    ``run``: an id, its first characters, ``latest`` or ``all``. None: the latest run with results
    for what is asked; with ``since`` or ``until``, all runs of those days.
    """

    run: str | None = None
    content_types: tuple[str, ...] = ()
    markets: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    keyword: str | None = None
    tags: tuple[str, ...] = ()
    landscape: str | None = None
    companies: tuple[str, ...] = ()
    relations: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None


async def select(conn: Connection, row: type[Row], filters: Filters) -> Selection:
    """Return the selection of rows that the filters mean.

    Raises ``UserError`` for a value that cannot be, an unknown run, and if no run has results.
    """
    selection = Selection(
        content_types=_known("content type", ContentType, filters.content_types),
        markets=await _markets(conn, filters.markets),
        devices=_known("device", Device, filters.devices),
        keyword=None if filters.keyword is None else keyword_key(filters.keyword),
        tags=await _tags(conn, filters.tags),
        landscape=await _landscape(conn, filters.landscape),
        companies=tuple(map(company_key, filters.companies)),
        relations=_known("relation", RELATIONS, filters.relations),
        since=filters.since,
        until=filters.until,
    )
    run = await _run(conn, row, filters, selection)
    return selection if run is None else selection.of_run(run)


async def find_run(conn: Connection, given: str) -> UUID:
    """Find a run by its id or its first characters.

    Raises ``UserError`` for an unknown run and for an ambiguous beginning.
    """
    name = given.strip().lower()
    found = await reports.runs_starting_with(conn, name) if name and set(name) <= _HEX else []
    if len(found) != 1:
        problem = "more than one run id starts with that" if found else "there is no such run"
        raise UserError(f"run {given!r}: {problem}")
    return found[0]


async def _run(
    conn: Connection, row: type[Row], filters: Filters, selection: Selection
) -> UUID | None:
    given = None if filters.run is None else filters.run.strip().lower()
    if given is None:
        is_dated = filters.since is not None or filters.until is not None
        given = LATEST if row in _OF_ONE_RUN and not is_dated else ALL
    if given == ALL:
        return None
    if "run_id" not in {each.name for each in columns_of(row)}:
        raise UserError(f"{row.VIEW} cannot be filtered by run")
    if given != LATEST:
        return await find_run(conn, given)
    found = await reading.latest_run(conn, row, selection)
    if found is None:
        others = f" for {_described(filters)}" if selection != EVERYTHING else ""
        raise UserError(f"no run has {row.VIEW.replace('_', ' ')}{others} yet")
    return found


def _described(filters: Filters) -> str:
    """Name what was asked, for a person who sees that there is none."""
    named = {each.name: getattr(filters, each.name) for each in fields(filters)[1:]}
    texts = {
        name: ", ".join(value) if isinstance(value, tuple) else str(value)
        for name, value in named.items()
        if value not in (None, ())
    }
    return ", ".join(f"{name.replace('_', ' ')} {text!r}" for name, text in texts.items())


def _known(what: str, values: Iterable[str], given: Collection[str]) -> tuple[str, ...]:
    known = [str(each) for each in values]
    for each in given:
        if each.strip().lower() not in known:
            raise UserError(f"{what} {each!r}: must be one of {', '.join(known)}")
    return tuple(each.strip().lower() for each in given)


async def _markets(conn: Connection, given: Collection[str]) -> tuple[str, ...]:
    if not given:
        return ()
    names = MarketNames(await projects.markets(conn))
    return tuple(dict.fromkeys(names.get(each).code for each in given))


async def _tags(conn: Connection, given: Collection[str]) -> tuple[str, ...]:
    """The stored spellings. Without one, what was given: no row has it."""
    wanted = [composed(each) for each in given]
    return tuple(await keyword_sets.same_tags(conn, wanted) if wanted else ()) or tuple(wanted)


async def _landscape(conn: Connection, given: str | None) -> str | None:
    name = None if given is None else composed(given)
    await projects.check_landscape(conn, name)
    return name
