"""YouTube Data API v3: videos, channels, playlists, search and batchGetStats, with quotas.

Units are charged to the ledger as credits. The three quotas (units, searches, batchGetStats) reset
at midnight in Los Angeles, by the simulator's clock. Limits: only the parts serpline may request.
"""

from collections import Counter
from typing import Any
from zoneinfo import ZoneInfo

from serpline.simulator.config import SimulatorConfig
from serpline.simulator.journal import Ledger
from serpline.simulator.routes import UNKNOWN, operation_of
from serpline.simulator.seeds import stamp
from serpline.simulator.wire import (
    Operation,
    Reply,
    Request,
    identity_of,
    json_reply,
    retry_headers,
)
from serpline.simulator.world import World
from serpline.simulator.world.videos import CHANNELS, Channel
from serpline.simulator.youtube_items import channel_item, envelope, playlist_item, video_item

NAME = "youtube"
IDS_MAX = 50
QUOTA_ZONE = ZoneInfo("America/Los_Angeles")
# bucket → (units a call, units a day)
QUOTAS = {"general": (1, 10_000), "search": (1, 100), "stats": (1, 10_000)}
_BUCKETS = {
    "videos": "general",
    "channels": "general",
    "playlists": "general",
    "search": "search",
    "batch_get_stats": "stats",
}
_PARTS = {
    "videos": {"id", "snippet", "statistics", "contentDetails", "status", "topicDetails"},
    "channels": {"id", "snippet", "statistics", "contentDetails", "brandingSettings", "status"},
    "playlists": {"id", "snippet", "contentDetails", "status"},
    "search": {"id", "snippet"},
    "batch_get_stats": {"id", "snippet", "statistics", "contentDetails"},
}


class YouTube:
    """The simulated API."""

    name = NAME

    def __init__(self, config: SimulatorConfig, world: World, ledger: Ledger) -> None:
        self._config = config
        self._world = world
        self._ledger = ledger
        self._used: Counter[tuple[str, str]] = Counter()

    def describe(self, request: Request) -> Operation:
        """Name the call."""
        name = operation_of(NAME, request.method, request.segments)
        params = {k: v for k, v in request.query.items() if k != "key"}
        return Operation(name, params, identity_of(name, params))

    async def handle(self, request: Request, operation: Operation) -> Reply:
        """Check the key, charge the quota, answer."""
        if operation.name == UNKNOWN or request.method != "GET":
            return _error(404, "Not Found", "global", "notFound")
        key = request.query.get("key") or request.headers.get("x-goog-api-key")
        if key != self._config.key(NAME):
            return self.failure(401)
        cost = self._take(_BUCKETS[operation.name], operation.name)
        if cost is None:
            return self.failure(402)
        try:
            value = self._answer(operation.name, request.query)
        except _Invalid as invalid:
            # Invalid requests cost as much as valid ones.
            return _error(400, str(invalid), "youtube.parameter", "invalidParameter", billed=cost)
        return json_reply(200, value, billed=cost)

    def failure(self, status: int, *, retry_after: object = None, billed: float = 0.0) -> Reply:
        """Google's errors: a spent quota is a 403, a wrong key a 400."""
        if status == 401:
            details = [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "API_KEY_INVALID",
                    "domain": "googleapis.com",
                }
            ]
            message = "API key not valid. Please pass a valid API key."
            return _error(400, message, "global", "badRequest", details=details)
        if status == 402:
            message = "The request cannot be completed because you have exceeded your quota."
            return _error(403, message, "youtube.quota", "quotaExceeded", billed=billed)
        if status == 429:
            reply = _error(403, "Rate limit exceeded.", "usageLimits", "rateLimitExceeded")
        else:
            reason = "backendError" if status == 503 else "internalError"
            reply = _error(status, "The service is unavailable.", "global", reason)
        reply.headers.update(retry_headers(retry_after))
        reply.credits = billed
        return reply

    def _take(self, bucket: str, operation: str) -> int | None:
        """Charge a call's units to today's quota. None if the quota is spent."""
        day = self._config.clock.now().astimezone(QUOTA_ZONE).date().isoformat()
        cost, allowed = QUOTAS[bucket]
        allowed = int(self._config.credits.get(f"{NAME}/{bucket}", allowed))
        if self._used[day, bucket] + cost > allowed:
            return None
        if not self._ledger.charge(NAME, cost, operation, f"{bucket} quota of {day}"):
            return None
        self._used[day, bucket] += cost
        return cost

    def _answer(self, operation: str, query: Any) -> dict[str, Any]:
        parts = [part for part in query.get("part", "").split(",") if part]
        unknown = set(parts) - _PARTS[operation]
        if not parts or unknown:
            raise _Invalid(f"The part parameter is invalid: '{query.get('part', '')}'.")
        if operation == "search":
            return envelope("youtube#searchListResponse", self._search(query))
        if operation == "channels":
            items = [channel_item(each, parts) for each in self._channels(query)]
            return envelope("youtube#channelListResponse", items)
        if operation == "playlists":
            lists = [(each, self._world.videos.find_list_owner(each)) for each in _ids(query)]
            items = [playlist_item(key, owner, parts) for key, owner in lists if owner is not None]
            return envelope("youtube#playlistListResponse", items)
        videos = (self._world.videos.find(each) for each in _ids(query))
        items = [video_item(video, parts) for video in videos if video is not None]
        return envelope("youtube#videoListResponse", items)

    def _channels(self, query: Any) -> list[Channel]:
        find = self._world.videos.find_channel
        if "forHandle" in query:
            found = [find(handle=query["forHandle"])]
        elif "forUsername" in query:
            found = [find(username=query["forUsername"])]
        else:
            found = [find(channel_id=each) for each in _ids(query)]
        return [channel for channel in found if channel is not None]

    def _search(self, query: Any) -> list[dict[str, Any]]:
        words = query.get("q", "")
        limit = query.get("maxResults", "5")
        if not limit.isdecimal() or int(limit) > IDS_MAX:
            raise _Invalid(f"Invalid value '{limit}' for maxResults: 0 to {IDS_MAX}.")
        count = int(limit)
        items = []
        for number in range(count):
            salt = stamp(self._world.seed, "youtube search", words, number)
            channel = self._world.videos.find_channel(channel_id=query.get("channelId", ""))
            index = salt % CHANNELS
            video = self._world.videos.show(index, words, salt)
            if channel is not None and video.channel.id != channel.id:
                continue
            items.append(
                {
                    "kind": "youtube#searchResult",
                    "id": {"kind": "youtube#video", "videoId": video.id},
                    "snippet": video_item(video, ["snippet"])["snippet"],
                }
            )
        return items


class _Invalid(ValueError):  # noqa: N818  a condition of the request
    """Parameters that get a 400."""


def _ids(query: Any) -> list[str]:
    ids = [each for each in query.get("id", "").split(",") if each]
    if not ids or len(ids) > IDS_MAX:
        raise _Invalid(f"The request must name 1 to {IDS_MAX} ids, not {len(ids)}.")
    return list(dict.fromkeys(ids))


def _error(
    status: int,
    message: str,
    domain: str,
    reason: str,
    *,
    details: list[dict[str, str]] | None = None,
    billed: float = 0.0,
) -> Reply:
    error: dict[str, Any] = {
        "code": status,
        "message": message,
        "errors": [{"message": message, "domain": domain, "reason": reason}],
    }
    if details:
        error["details"] = details
    return json_reply(status, {"error": error}, billed=billed)
