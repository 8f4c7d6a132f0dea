"""DataForSEO: live Google Ads search volumes. HTTP Basic; status codes per reply and per task."""

import base64
from typing import Any

from serpline.simulator.config import SimulatorConfig
from serpline.simulator.journal import Ledger
from serpline.simulator.routes import ROUTES, UNKNOWN, operation_of
from serpline.simulator.seeds import hex_id
from serpline.simulator.wire import (
    BadBody,
    Operation,
    Reply,
    Request,
    identity_of,
    json_reply,
    retry_headers,
)
from serpline.simulator.world import World
from serpline.simulator.world.volumes import volume_of

NAME = "dataforseo"
LOGIN = "simulator"
((_, *_PATH),) = ROUTES[NAME]
COST = 0.09
KEYWORDS_MAX, CHARACTERS_MAX, WORDS_MAX = 1_000, 80, 10
# Documented, except "²" and "¡". One such symbol fails the whole task.
SYMBOLS, CODE_POINT_MAX = frozenset(",!@%^(){}=;~`<>?\\|\u2015\u00b2\u00a1"), 0xFFFF
_OK = 20000


class DataForSeo:
    """The simulated API. The ledger counts US dollars."""

    name = NAME

    def __init__(self, config: SimulatorConfig, world: World, ledger: Ledger) -> None:
        self._config = config
        self._world = world
        self._ledger = ledger

    def describe(self, request: Request) -> Operation:
        """Name the call. Its identity is its task, with the keywords."""
        name = operation_of(NAME, request.method, request.segments)
        try:
            task = _task(request)
        except (BadBody, _Rejected):
            return Operation(name, {"body": "unreadable"}, identity_of(name, {}))
        words = task.get("keywords")
        shown = {key: task.get(key) for key in ("location_code", "language_code")}
        params = {**shown, "keywords": len(words) if isinstance(words, list) else 0}
        return Operation(name, params, identity_of(name, {**shown, "keywords": words}))

    async def handle(self, request: Request, operation: Operation) -> Reply:
        """Check the login, then answer with status codes per reply and per task."""
        if operation.name == UNKNOWN or request.method != "POST":
            return _envelope(404, 40400, "Not Found.")
        credentials = f"{LOGIN}:{self._config.key(NAME)}"
        expected = "Basic " + base64.b64encode(credentials.encode()).decode()
        if request.headers.get("authorization") != expected:
            return self.failure(401)
        try:
            task = _task(request)
            words = _keywords(task)
        except BadBody:
            return _envelope(200, 40501, "Invalid Field: 'JSON'.")
        except _Rejected as rejected:
            return self._task_reply({}, rejected.code, str(rejected), None, 0.0)
        if not self._ledger.charge(NAME, COST, "search_volume", f"{len(words)} keywords"):
            return self.failure(402)
        return self._task_reply(task, _OK, "Ok.", self._rows(task, words), COST)

    def failure(self, status: int, *, retry_after: object = None, billed: float = 0.0) -> Reply:
        """Errors as HTTP statuses; the rate limit is a code inside a 200."""
        codes = {
            401: (401, 40100, "You are not Authorized to Access this Resource."),
            402: (402, 40200, "Payment Required."),
            429: (200, 40202, "The rate limit has been exceeded."),
            500: (500, 50000, "Internal Error."),
            503: (503, 50301, "3rd Party API Service Unavailable."),
        }
        http, code, message = codes.get(status, (status, 50000, "Internal Error."))
        reply = _envelope(http, code, message)
        reply.headers.update(retry_headers(retry_after))
        reply.credits = billed
        return reply

    def _rows(self, task: dict[str, Any], words: list[str]) -> list[dict[str, Any]] | None:
        """One row per keyword, in lower case. One restricted keyword leaves all without figures."""
        lowered = list(dict.fromkeys(word.lower() for word in words))
        restricted = self._config.restricted_words
        if any(bad in word.split() for word in lowered for bad in restricted):
            return [{"keyword": word, "search_volume": None} for word in lowered]
        location, language = int(task["location_code"]), str(task.get("language_code") or "")
        return [self._row(word, location, language or None) for word in lowered]

    def _row(self, word: str, location: int, language: str | None) -> dict[str, Any]:
        day = self._world.day
        known = volume_of(self._world.seed, word, location, language or "", day)
        row: dict[str, Any] = {
            "keyword": word.replace("+", " "),
            "spell": None,
            "location_code": location,
            "language_code": language,
            "search_partners": False,
            "competition": known.competition if known else None,
            "competition_index": known.competition_index if known else None,
            "search_volume": known.volume if known else None,
            "low_top_of_page_bid": known.low_bid if known else None,
            "high_top_of_page_bid": known.high_bid if known else None,
            "cpc": known.cpc if known else None,
            "monthly_searches": None,
        }
        if known:
            row["monthly_searches"] = [
                {"year": year, "month": month, "search_volume": volume}
                for year, month, volume in known.monthly
            ]
        return row

    def _task_reply(
        self,
        task: dict[str, Any],
        code: int,
        message: str,
        rows: list[dict[str, Any]] | None,
        cost: float,
    ) -> Reply:
        one = {
            "id": hex_id(32, self._config.seed, identity_of("task", task)).lower(),
            "status_code": code,
            "status_message": message,
            "time": "0.4 sec.",
            "cost": cost,
            "result_count": len(rows or ()),
            "path": _PATH,
            "data": {"api": "keywords_data", "function": "search_volume", **task},
            "result": rows,
        }
        return _envelope(200, _OK, "Ok.", cost=cost, tasks=[one])


class _Rejected(ValueError):  # noqa: N818  a condition of the request
    """A task that gets its own error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _task(request: Request) -> dict[str, Any]:
    value = request.json()
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        raise _Rejected(40503, "POST Data Is Invalid.")
    if len(value) > 1:
        raise _Rejected(40006, "You can set only one task at a time.")
    task: dict[str, Any] = value[0]
    return task


def _keywords(task: dict[str, Any]) -> list[str]:
    words = task.get("keywords")
    if (
        not isinstance(words, list)
        or not 1 <= len(words) <= KEYWORDS_MAX
        or not all(isinstance(word, str) and word.strip() for word in words)
        or any(len(word) > CHARACTERS_MAX or len(word.split()) > WORDS_MAX for word in words)
    ):
        raise _Rejected(40501, "Invalid Field: 'keywords'.")
    for word in words:
        if any(c in SYMBOLS or ord(c) > CODE_POINT_MAX for c in word):
            raise _Rejected(
                40501,
                "Invalid Field: 'keywords'. Keyword text has invalid characters or symbols: "
                f"'{word}'.",
            )
    if not isinstance(task.get("location_code"), int):
        raise _Rejected(40501, "Invalid Field: 'location_code'.")
    return words


def _envelope(
    http: int, code: int, message: str, *, cost: float = 0.0, tasks: list[Any] | None = None
) -> Reply:
    failed = sum(1 for task in tasks or () if task["status_code"] != _OK)
    body = {
        "version": "0.1.20260801",
        "status_code": code,
        "status_message": message,
        "time": "0.4 sec.",
        "cost": cost,
        "tasks_count": len(tasks or ()),
        "tasks_error": failed,
        "tasks": tasks,
    }
    return json_reply(http, body, billed=cost)
