"""A search page as rows of the results."""

from datetime import datetime
from typing import Any

from serpline.analysis.domains import (
    canonical_url,
    publisher,
    youtube_channel_ref,
    youtube_video_id,
)
from serpline.core.logging import described, get
from serpline.domain.errors import ErrorCategory
from serpline.domain.outcomes import Done, Outcome, Reject
from serpline.phases.base import Work
from serpline.phases.serp.searches import asks_for_overviews, item_key
from serpline.providers.scaleserp.wire import SerpPage, SerpResult

log = get(__name__)

YOUTUBE = "youtube.com"


def collected(work: Work, item: str, page: SerpPage, source: str, at: datetime) -> Outcome:
    """The page as rows, collected ``at``.

    An exception here is a bug of ours and fails only its own search. Quarantine cannot isolate it:
    the chunk is one batch and indivisible.
    """
    try:
        return Done(item, _result(work, item, page, source, at))
    except Exception as error:
        log.exception("search.raised", action="search.raised", chunk=work.chunk.id)
        return Reject(item, ErrorCategory.INTERNAL, described(error))


def _result(work: Work, item: str, page: SerpPage, source: str, at: datetime) -> dict[str, Any]:
    keyword_id, market, device = item_key(item)
    key = {
        "run_id": work.chunk.run_id,
        "content_type": str(work.chunk.lane.content_type),
        "keyword_id": keyword_id,
        "market": market,
        "device": str(device),
    }
    found = page.results(work.chunk.lane.content_type)
    rows = [_row(result) for result in found]
    serp = {
        "collected_at": at,
        "results": len(rows),
        "total_results": page.total_results,
        "ai_overview": _ai_overview(work, page),
        "source": source,
    }
    return {
        "serp": {**key, **serp},
        "results": [{**key, "rank": rank, **row} for rank, row in enumerate(rows, start=1)],
    }


def _ai_overview(work: Work, page: SerpPage) -> bool | None:
    """Whether the page shows an AI overview; None if the search did not ask."""
    if page.has_ai_overview is None and asks_for_overviews(
        work.config, work.chunk.lane.content_type
    ):
        return False  # the search asked, though the reply does not repeat the parameter
    return page.has_ai_overview


def _row(result: SerpResult) -> dict[str, Any]:
    """The result as a row. Wrapped links are resolved to the publisher's page, owner and video."""
    found = publisher(result.url, result.domain)
    video_id = youtube_video_id(found.url)
    channel_ref = None if video_id else youtube_channel_ref(found.url)
    return {
        "position": result.overall_position,
        "block_position": result.block_position,
        "url": result.url,
        "canonical_url": canonical_url(found.url) or found.url,
        "domain": YOUTUBE if video_id or channel_ref else found.domain,
        "title": result.title,
        "snippet": result.snippet,
        "published_at": result.date_utc or result.date,
        "source": result.source,
        "video_id": video_id,
        "channel_ref": channel_ref,
    }
