"""Filters, sorting and paging of ``GET /batches``.

Documented (docs.trajectdata.com/scaleserp, "List Batches"): ``contains`` compares words and ignores
case, ``exact`` does not ignore it; the order is by name, ascending.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from serpline.simulator.scaleserp.batches import Batch, Refused

_PAGE_DEFAULT, _PAGE_MAX = 25, 1_000
_TERMS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda name, term: all(word in name.lower() for word in _words(term)),
    "starts_with": lambda name, term: name.lower().startswith(term.lower()),
    "ends_with": lambda name, term: name.lower().endswith(term.lower()),
    "exact": lambda name, term: name == term,
}
_SORTS: dict[str, Callable[[Batch], Any]] = {
    "created_at": lambda batch: batch.created_at,
    "last_run": lambda batch: batch.last_run or batch.created_at,
    "name": lambda batch: batch.name,
    "searches_total_count": lambda batch: len(batch.searches),
    "results_count": lambda batch: len(batch.result_sets),
}


def select(
    batches: Iterable[Batch], query: Mapping[str, str]
) -> tuple[list[Batch], list[Batch], int, int]:
    """All matching batches, those of the page, page size and page number. Raises ``Refused``."""
    found = [batch for batch in batches if _matches(batch, query)]
    sort = _SORTS.get(query.get("sort_by", "name"))
    if sort is None:
        raise Refused(400, f"Cannot sort by '{query['sort_by']}'.")
    found.sort(key=sort, reverse=query.get("sort_direction", "ascending").startswith("desc"))
    size = min(_number(query, "page_size", _PAGE_DEFAULT), _PAGE_MAX)
    page = _number(query, "page", 1)
    return found, found[(page - 1) * size : page * size], size, page


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise Refused(400, f"'{name}' must be a positive integer, not '{text}'.")
    return int(text)


def _words(term: str) -> list[str]:
    return "".join(each if each.isalnum() else " " for each in term.lower()).split()


def _matches(batch: Batch, query: Mapping[str, str]) -> bool:
    """Whether a batch passes the filters. Raises ``Refused`` for a bad filter."""
    if query.get("status", "all") not in ("all", batch.status.value):
        return False
    if query.get("only_with_results") == "true" and not batch.result_sets:
        return False
    if query.get("only_without_results") == "true" and batch.result_sets:
        return False
    test = _TERMS.get(query.get("search_type", "contains"))
    if test is None:
        raise Refused(400, f"'search_type' cannot be '{query['search_type']}'.")
    if "search_term" in query and not test(batch.name, query["search_term"]):
        return False
    for name, moment in (("created", batch.created_at), ("last_run", batch.last_run)):
        before, after = _moment(query, f"{name}_before"), _moment(query, f"{name}_after")
        if before is not None and (moment is None or moment >= before):
            return False
        if after is not None and (moment is None or moment <= after):
            return False
    return True


def _moment(query: Mapping[str, str], name: str) -> datetime | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(400, f"'{name}' must be an ISO date, not '{text}'.") from None
    if moment.tzinfo is None:
        raise Refused(400, f"'{name}' must have a time zone: '{text}'.")
    return moment
