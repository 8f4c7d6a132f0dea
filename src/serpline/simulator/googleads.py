"""Google Ads: historical keyword metrics. int64 are strings; close variants share a row."""

from typing import Any

from serpline.simulator.config import SimulatorConfig
from serpline.simulator.routes import UNKNOWN, operation_of
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

NAME = "googleads"
KEYWORDS_MAX = 10_000
_MONTHS = (
    "JANUARY",
    "FEBRUARY",
    "MARCH",
    "APRIL",
    "MAY",
    "JUNE",
    "JULY",
    "AUGUST",
    "SEPTEMBER",
    "OCTOBER",
    "NOVEMBER",
    "DECEMBER",
)
_STATES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class GoogleAds:
    """The simulated API, in any version. It is free."""

    name = NAME

    def __init__(self, config: SimulatorConfig, world: World) -> None:
        self._config = config
        self._world = world

    def describe(self, request: Request) -> Operation:
        """Name the call. Its identity is the body."""
        name = operation_of(NAME, request.method, request.segments)
        try:
            body = request.fields()
        except BadBody:
            body = {}
        words = body.get("keywords")
        shown = {**body, "keywords": len(words) if isinstance(words, list) else 0}
        return Operation(name, shown, identity_of(name, body))

    async def handle(self, request: Request, operation: Operation) -> Reply:
        """Check the token and the body, then answer with the known keywords."""
        if request.headers.get("authorization") != f"Bearer {self._config.key(NAME)}":
            return self.failure(401)
        if operation.name == UNKNOWN or request.method != "POST":
            return self.failure(404)
        try:
            body = request.fields()
        except BadBody:
            return self.failure(400)
        words, targets = body.get("keywords"), body.get("geoTargetConstants") or [""]
        location = str(targets[0]).rsplit("/", 1)[-1] if isinstance(targets, list) else ""
        if (
            not isinstance(words, list)
            or not 1 <= len(words) <= KEYWORDS_MAX
            or not location.isdecimal()
        ):
            return self.failure(400)
        language = str(body.get("language", ""))
        rows = self._rows([str(word) for word in words], int(location), language)
        return json_reply(200, {"results": rows})

    def failure(self, status: int, *, retry_after: object = None, billed: float = 0.0) -> Reply:
        """Google's error envelope."""
        state = _STATES.get(status, "UNKNOWN")
        error = {"code": status, "message": state.replace("_", " ").lower(), "status": state}
        reply = json_reply(status, {"error": error}, retry_headers(retry_after))
        reply.credits = billed
        return reply

    def _rows(self, words: list[str], location: int, language: str) -> list[dict[str, Any]]:
        groups: dict[str, list[str]] = {}
        for word in dict.fromkeys(" ".join(word.lower().split()) for word in words):
            # Google merges plural and singular into one row.
            groups.setdefault(word.removesuffix("s"), []).append(word)
        rows = []
        for members in groups.values():
            known = volume_of(self._world.seed, members[0], location, language, self._world.day)
            if known is None:
                continue
            metrics = {
                "avgMonthlySearches": str(known.volume),
                "competition": known.competition,
                "competitionIndex": str(known.competition_index),
                "lowTopOfPageBidMicros": str(round(known.low_bid * 1_000_000)),
                "highTopOfPageBidMicros": str(round(known.high_bid * 1_000_000)),
                "monthlySearchVolumes": [
                    {"year": str(year), "month": _MONTHS[month - 1], "monthlySearches": str(volume)}
                    for year, month, volume in reversed(known.monthly)
                ],
            }
            rows.append(
                {
                    "text": members[0],
                    "closeVariants": members[1:],
                    "keywordMetrics": metrics,
                }
            )
        return rows
