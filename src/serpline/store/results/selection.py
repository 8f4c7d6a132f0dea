"""Which rows are read: the filters that every way of reading results shares."""

from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from uuid import UUID

from serpline.domain.errors import UserError
from serpline.domain.results import Row, columns_of


@dataclass(frozen=True, slots=True)
class Selection:
    """Filters, all of which a row has to pass. None and empty: no filter.

    ``run_id``: None reads all runs. ``keyword``: folded (``domain.keywords.keyword_key``).
    ``tags``: any of them. ``landscape``: of a row about a keyword, a landscape that has it; else
    the landscape of the run. ``companies``: keys, as in the column ``company``. ``relations``:
    ours, competitor. ``since`` and ``until``: days in UTC, both included.
    """

    run_id: UUID | None = None
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

    def of_run(self, run_id: UUID) -> "Selection":
        """Return the same filters within one run."""
        return replace(self, run_id=run_id)


EVERYTHING = Selection()


def conditions(row: type[Row], selection: Selection) -> tuple[list[str], dict[str, Any]]:
    """Return the filters as SQL over the columns of a view, and their parameters.

    Raises ``UserError`` for a filter of something that the view does not have.
    """
    has = {each.name for each in columns_of(row)}
    found: list[str] = []
    values: dict[str, Any] = {}

    def add(name: str, value: Any, *choices: tuple[str, str]) -> None:
        """Add the condition of the first column that the view has."""
        if value is None or value == ():
            return
        for column, condition in choices:
            if column in has:
                found.append(condition)
                values[name] = [str(each) for each in value] if type(value) is tuple else value
                return
        raise UserError(f"{row.VIEW} cannot be filtered by {name.replace('_', ' ')}")

    def any_of(name: str, column: str, several: str) -> tuple[tuple[str, str], ...]:
        given = f"CAST(:{name} AS text[])"
        return (column, f"{column} = ANY({given})"), (several, f"{several} && {given}")

    add("run_id", selection.run_id, ("run_id", "run_id = CAST(:run_id AS uuid)"))
    add(
        "content_types",
        selection.content_types,
        *any_of("content_types", "content_type", "content_types"),
    )
    add("markets", selection.markets, *any_of("markets", "market", "markets"))
    add("devices", selection.devices, *any_of("devices", "device", "devices"))
    # The keyword's id finds its rows by an index.
    keyword = "keyword_id = (SELECT id FROM keywords WHERE folded = :keyword)"
    add("keyword", selection.keyword, ("keyword_id", keyword))
    add("tags", selection.tags, any_of("tags", "", "tags")[1])
    members = "SELECT i.keyword_id FROM landscape_keywords i WHERE i.landscape = :landscape"
    add(
        "landscape",
        selection.landscape,
        ("keyword_id", f"keyword_id IN ({members})"),
        ("landscape", "landscape = :landscape"),
    )
    add("companies", selection.companies, any_of("companies", "company", "")[0])
    add("relations", selection.relations, any_of("relations", "relation", "")[0])
    for name, operator in (("since", ">="), ("until", "<")):
        day = f"CAST(:{name} AS date)" + (" + 1" if operator == "<" else "")
        # A column of times is compared with the beginning of the day.
        compared = (
            day if row.DATED_BY != "scheduled_for" else f"({day})::timestamp AT TIME ZONE 'UTC'"
        )
        dated = row.DATED_BY or ""
        add(name, getattr(selection, name), (dated, f"{dated} {operator} {compared}"))
    return found, values
