"""Search responses, computed from (seed, day, parameters) only."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from serpline.simulator.journal import iso
from serpline.simulator.scaleserp.places import country_of
from serpline.simulator.scaleserp.sections import (
    ORGANIC_PAGE_SIZE,
    Sections,
    news_results,
    organic_sections,
    video_results,
)
from serpline.simulator.seeds import stream, unit
from serpline.simulator.world import World

SEARCH_TYPES = ("web", "news", "videos", "images", "places", "shopping")
REAL_TIME_PAGES_MAX = 5
_EMPTY = {"web": 0.003, "news": 0.02, "videos": 0.01}
_SECRET = frozenset({"api_key"})


class BadSearch(ValueError):  # noqa: N818  a condition of the request, answered with a 400
    """Parameters that get a 400."""


def check(params: Mapping[str, str]) -> None:
    """Raise ``BadSearch`` for violations of documented rules. Other parameters are echoed."""
    if not params.get("q", "").strip():
        raise BadSearch("The required parameter 'q' is missing or empty.")
    kind = params.get("search_type", "web")
    if kind not in SEARCH_TYPES:
        raise BadSearch(f"The 'search_type' parameter has an invalid value: '{kind}'.")
    for name in ("page", "max_page", "num"):
        value = params.get(name, "1")
        if not value.isdecimal() or int(value) < 1:
            raise BadSearch(f"The '{name}' parameter must be a positive integer, not '{value}'.")
    period = params.get("time_period", "last_day")
    if period == "custom":
        _custom_period(params)
    elif period not in _PERIOD_DAYS:
        raise BadSearch(f"The 'time_period' parameter has an invalid value: '{period}'.")


def pages_of(params: Mapping[str, str]) -> int:
    """The number of pages of a search. Each is billed."""
    return int(params.get("max_page", "1"))


def credits_of(params: Mapping[str, str], page_credits: int = 1) -> int:
    """The price: ``page_credits`` per page (documented: 1), plus 1 for an AI Overview."""
    return page_credits * pages_of(params) + (params.get("include_ai_overview") == "true")


def respond(world: World, day: date, params: Mapping[str, str], info: dict[str, Any]) -> Any:
    """The response body. ``params`` must have passed ``check``; ``info``: ``request_info``."""
    shown = {name: str(value) for name, value in params.items() if name not in _SECRET}
    keyword, kind = params["q"].strip(), params.get("search_type", "web")
    country = country_of(params)
    choices = stream(world.seed, "serp", kind, keyword.lower(), country, day)
    seconds = round(choices.uniform(0.9, 6.5), 2)
    created = datetime(day.year, day.month, day.day, 6, tzinfo=UTC) + timedelta(
        seconds=choices.randint(0, 43_000)
    )
    body: dict[str, Any] = {
        "request_info": info,
        "search_parameters": {**shown, "engine": "google"},
        "search_metadata": {
            "created_at": iso(created),
            "processed_at": iso(created + timedelta(seconds=seconds)),
            "total_time_taken": seconds,
            "engine_url": f"https://www.google.com/search?{urlencode({'q': keyword})}",
            "html_url": _own_url(params, "html"),
            "json_url": _own_url(params, "json"),
        },
    }
    if unit(world.seed, "empty", kind, keyword.lower(), country) < _EMPTY.get(kind, 1.0):
        body["search_information"] = _information(keyword, 0, zero=True)
        return body
    total = int(choices.lognormvariate(14, 2))
    body["search_information"] = _information(keyword, total, zero=False)
    body.update(_results(world, day, params, kind, keyword, country))
    body["pagination"] = _pagination(params, keyword)
    return body


def _results(
    world: World, day: date, params: Mapping[str, str], kind: str, keyword: str, country: str
) -> Sections:
    first, last = int(params.get("page", "1")), pages_of(params)
    merged = Sections()
    for page in range(first, first + last):
        label = page if last > 1 else None
        if kind == "web":
            part = organic_sections(
                world,
                day,
                keyword,
                country,
                params.get("device", params.get("device_type", "desktop")),
                page,
                overview=params.get("include_ai_overview") == "true",
                label=label,
            )
        elif kind == "news":
            part = news_results(world, day, keyword, country, page, _period(params, day), label)
        else:
            part = video_results(world, day, keyword, country, page, label)
        for name, rows in part.items():
            # Result lists grow page by page; all other sections come from the first page.
            if name in merged and name.endswith("_results"):
                merged[name] += rows
            else:
                merged.setdefault(name, rows)
    return merged


def _information(keyword: str, total: int, *, zero: bool) -> dict[str, Any]:
    return {
        "original_query_yields_zero_results": zero,
        "total_results": total,
        "time_taken_displayed": 0.41,
        "query_displayed": keyword,
    }


_PERIOD_DAYS = {
    "last_hour": 0,
    "last_day": 1,
    "last_week": 7,
    "last_month": 30,
    "last_year": 365,
}


def _period(params: Mapping[str, str], day: date) -> tuple[date, date]:
    """The first and the last possible day of a news result."""
    name = params.get("time_period")
    if name == "custom":
        return _custom_period(params)
    return day - timedelta(days=_PERIOD_DAYS[name] if name else 25), day


def _custom_period(params: Mapping[str, str]) -> tuple[date, date]:
    days = []
    for name in ("time_period_min", "time_period_max"):
        value = params.get(name, "")
        try:
            days.append(datetime.strptime(value, "%m/%d/%Y").date())  # noqa: DTZ007  a day
        except ValueError:
            raise BadSearch(f"The '{name}' parameter must be MM/DD/YYYY, not '{value}'.") from None
    return days[0], max(days)


def _own_url(params: Mapping[str, str], output: str) -> str:
    # Like the real API, repeat the caller's key: redaction must remove it.
    return f"https://api.scaleserp.com/search?{urlencode({**params, 'output': output})}"


def _pagination(params: Mapping[str, str], keyword: str) -> dict[str, Any]:
    page = int(params.get("page", "1"))

    def google(number: int) -> str:
        start = (number - 1) * ORGANIC_PAGE_SIZE
        return f"https://www.google.com/search?{urlencode({'q': keyword, 'start': start})}"

    def api(number: int) -> str:
        return _own_url({**params, "page": str(number)}, "json")

    others = range(page + 1, page + 5)
    return {
        "current": page,
        "next": google(page + 1),
        "other_pages": [{"page": number, "link": google(number)} for number in others],
        "api_pagination": {
            "next": api(page + 1),
            # The documentation shows an object, a recorded response a list: both occur here.
            "other_pages": {str(number): api(number) for number in others},
        },
    }
