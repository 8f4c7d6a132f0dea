"""Phase 4: ranking videos and their channels, fifty a call.

Items are ``v:VIDEO`` and ``c:REF``, where REF (``youtube_channel_ref``) is a channel's id, handle,
old user name or one of its playlists. A video or playlist succeeds together with its channel, so
the next phase finds both. "YouTube does not show this video" is an answer.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from serpline.config.run import PipelineConfig
from serpline.domain.errors import CallRefused, ProviderError
from serpline.domain.http import ProviderCall
from serpline.domain.names import PhaseName
from serpline.domain.outcomes import Done, Outcome
from serpline.domain.replies import unreadable
from serpline.phases.base import Work
from serpline.phases.freshness import run_scope
from serpline.phases.tools import (
    Tools,
    claim_missing,
    readable_rows,
    snooze_until_bought,
    to_json,
)
from serpline.providers.youtube.client import IDS_MAX, is_handle
from serpline.providers.youtube.wire import Channel, is_id
from serpline.store.calls.reference import ClaimResult
from serpline.store.database import Connection
from serpline.store.rows import insert_rows
from serpline.store.runs import plans
from serpline.store.runs.chunks import ItemRow, OwnedChunk
from serpline.store.tables.results import youtube_channel_refs, youtube_channels, youtube_videos

VIDEO_KIND = "youtube_video"
CHANNEL_KIND = "youtube_channel"
PLAYLIST_KIND = "youtube_playlist"
USER = "user/"

Payload = dict[str, Any]
Lookup = Payload | ProviderError | CallRefused | None
"""A resource, ``{}`` if YouTube does not show it or the id is impossible, None while another chunk
buys it, or the error of its call."""


class YouTubeEnrichmentPhase:
    """Buys each video and channel once and reuses fresh ones."""

    name = PhaseName.YOUTUBE_ENRICHMENT
    plan_sql = plans.YOUTUBE_ENRICHMENT
    divisible = True

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def chunk_size(self, config: PipelineConfig) -> int:
        """Return ten full calls."""
        return 10 * IDS_MAX

    def plan_params(self, config: PipelineConfig) -> Mapping[str, Any]:
        """Return no further parameters."""
        return {}

    async def work(self, work: Work, items: Sequence[ItemRow]) -> AsyncGenerator[Outcome, None]:
        """Fetch fifty items at a time: videos and playlists first, then all their channels."""
        for start in range(0, len(items), IDS_MAX):
            group = [row.item for row in items[start : start + IDS_MAX]]
            for outcome in await self._group(work, group):
                yield outcome

    async def _group(self, work: Work, group: Sequence[str]) -> list[Outcome]:
        youtube = self._tools.youtube
        video_ids = [item[2:] for item in group if item.startswith("v:")]
        playlist_ids = [item[2:] for item in group if item.startswith("c:PL")]
        videos = await self._fetch_by_id(work, VIDEO_KIND, video_ids, youtube.videos)
        playlists = await self._fetch_by_id(work, PLAYLIST_KIND, playlist_ids, youtube.playlists)
        things = {f"v:{key}": answer for key, answer in videos.items()}
        things |= {f"c:{key}": answer for key, answer in playlists.items()}
        refs = {item: item[2:] for item in group if item not in things}
        refs |= {
            item: payload["channel_id"]
            for item, payload in things.items()
            if isinstance(payload, dict) and payload.get("channel_id")
        }
        channels = await self._channels(work, set(refs.values()))
        return [
            _outcome(work, item, things.get(item, {}), channels[refs[item]] if item in refs else {})
            for item in group
        ]

    async def _channels(self, work: Work, refs: Iterable[str]) -> dict[str, Lookup]:
        names = sorted(ref for ref in refs if ref.startswith(("@", USER)))
        ids = sorted(set(refs).difference(names))
        answers = await self._fetch_by_id(work, CHANNEL_KIND, ids, self._tools.youtube.channels)
        for name in names:
            answers |= await self._fetch_by_name(work, name)
        return answers

    async def _fetch_by_id(
        self,
        work: Work,
        kind: str,
        ids: Sequence[str],
        call_for: Any,
    ) -> dict[str, Lookup]:
        sendable = [each for each in ids if is_id(each)]
        answers: dict[str, Lookup] = {each: {} for each in ids}
        # An earlier group may have bought some of them; its payloads must be stored first.
        await self._tools.guard.flush()
        claims = await claim_missing(work, kind, sendable)
        answers |= _stored(claims)
        answers |= dict.fromkeys(claims.in_flight_elsewhere)
        for start in range(0, len(claims.to_fetch), IDS_MAX):
            batch = claims.to_fetch[start : start + IDS_MAX]
            call: ProviderCall[Mapping[str, Any]] = call_for(batch)
            try:
                bought = await self._tools.buy(
                    work, call, kind, partial(readable_rows, batch), freshness=run_scope(work)
                )
            except (ProviderError, CallRefused) as error:
                answers |= dict.fromkeys(batch, error)
                continue
            answers |= {key: unreadable("youtube", key) for key in batch if key not in bought}
            answers |= {key: _dated(value, work.clock.now()) for key, value in bought.items()}
        return answers

    async def _fetch_by_name(self, work: Work, name: str) -> dict[str, Lookup]:
        user = name.removeprefix(USER)
        if not (is_id(user) if user != name else is_handle(name)):
            return {name: {}}
        claims = await claim_missing(work, CHANNEL_KIND, [name])
        if not claims.to_fetch:
            return {name: _stored(claims).get(name)}
        youtube = self._tools.youtube
        ask = youtube.channel_by_username if user != name else youtube.channel_by_handle

        def payloads(channel: Channel | None) -> dict[str, Payload]:
            return {name: to_json(channel) if channel else {}}

        try:
            bought = await self._tools.buy(
                work, ask(user), CHANNEL_KIND, payloads, freshness=run_scope(work)
            )
        except (ProviderError, CallRefused) as error:
            return {name: error}
        return {key: _dated(value, work.clock.now()) for key, value in bought.items()}

    async def write(self, conn: Connection, chunk: OwnedChunk, done: Sequence[Done]) -> None:
        """Write rows of videos, channels and channel references; a channel has one row."""
        now = self._tools.clock.now()
        videos, channels, refs = {}, {}, []
        for outcome in done:
            video, channel = outcome.result["video"], outcome.result["channel"]
            if outcome.item.startswith("v:"):
                videos[outcome.item[2:]] = _video_row(chunk, outcome.item[2:], video, now)
            if not channel:
                continue
            channels[channel["id"]] = _channel_row(chunk, channel, now)
            if outcome.item.startswith("c:"):
                named = {"ref": outcome.item[2:], "channel_id": channel["id"]}
                refs.append({"run_id": chunk.run_id, **named})
        await insert_rows(conn, youtube_videos, [videos[key] for key in sorted(videos)])
        await insert_rows(conn, youtube_channels, [channels[key] for key in sorted(channels)])
        await insert_rows(conn, youtube_channel_refs, refs)


def _stored(claims: ClaimResult) -> dict[str, Payload]:
    """The stored payloads with their purchase times."""
    return {key: _dated(value, claims.fetched_at[key]) for key, value in claims.fresh.items()}


def _dated(value: Payload, at: datetime) -> Payload:
    """A payload with the time of its purchase; ``{}`` stays empty."""
    return {**value, "fetched_at": at} if value else {}


def _outcome(work: Work, item: str, thing: Lookup, channel: Lookup) -> Outcome:
    """``thing``: the video or playlist; ``channel``: its channel, or the one the item names."""
    for answer in (thing, channel):
        if answer is None:
            return snooze_until_bought(work, item)
        if not isinstance(answer, dict):
            return work.retries.outcome_for(item, answer)
    return Done(item, {"video": thing, "channel": channel})


def _video_row(chunk: OwnedChunk, video_id: str, video: Payload, now: Any) -> dict[str, Any]:
    return {
        "run_id": chunk.run_id,
        "video_id": video_id,
        "found": bool(video),
        "channel_id": video.get("channel_id"),
        "title": video.get("title"),
        "description": video.get("description"),
        "published_at": video.get("published_at"),
        "duration_seconds": video.get("duration_seconds"),
        "views": video.get("views"),
        "likes": video.get("likes"),
        "comments": video.get("comments"),
        "fetched_at": video.get("fetched_at") or now,
    }


def _channel_row(chunk: OwnedChunk, channel: Payload, now: Any) -> dict[str, Any]:
    return {
        "run_id": chunk.run_id,
        "channel_id": channel["id"],
        "found": True,
        "handle": channel.get("handle"),
        "title": channel.get("title"),
        "description": channel.get("description"),
        "country": channel.get("country"),
        "subscribers": channel.get("subscribers"),
        "views": channel.get("views"),
        "videos": channel.get("video_count"),
        "links": list(channel.get("links") or ()),
        "fetched_at": channel.get("fetched_at") or now,
    }
