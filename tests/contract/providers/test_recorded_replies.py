"""Recorded replies of the real APIs give the values that a careful person reads.

The recordings are outside the repository, in ``shared/data/replies`` beside the checkout or in
``RECORDED_REPLIES``. Every run reads our own replies of the same shapes.
"""

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from serpline.core.clock import SystemClock
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply, ProviderCall
from serpline.domain.names import ContentType
from serpline.providers.dataforseo.client import DataForSeoClient
from serpline.providers.llm.client import LlmClient
from serpline.providers.llm.wire import Question, read_completion
from serpline.providers.pdl.client import PdlClient
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.providers.scaleserp.spec import SearchSpec
from serpline.providers.scaleserp.webhook import parse_notice
from serpline.providers.youtube.client import YouTubeClient

CHECKOUT = Path(__file__).parents[3]
OWN: Mapping[str, Any] = json.loads((CHECKOUT / "tests" / "data" / "own_replies.json").read_bytes())
KEY = "k3y-nobody-may-see"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUESTION = Question("any", {"type": "object"}, "Answer in JSON.", read_completion)
# Our terms for what a person reads in a failure.
MEANINGS: Mapping[str, ErrorCategory] = {
    "too_fast": ErrorCategory.RATE_LIMIT,
    "quota": ErrorCategory.QUOTA,
    "quota_of_the_day": ErrorCategory.QUOTA,
    "key": ErrorCategory.AUTH,
    "request": ErrorCategory.BAD_REQUEST,
    "provider_trouble": ErrorCategory.SERVER,
    "refused_by_model": ErrorCategory.EMPTY,
}


class FixedClock(SystemClock):
    """Noon."""

    def now(self) -> datetime:
        return NOW


CLOCK = FixedClock()
scaleserp = ScaleSerpClient("https://api.example", KEY, CLOCK)
dataforseo = DataForSeoClient("https://api.example", "me", KEY, CLOCK)
llm = LlmClient("https://api.example", KEY, "m", CLOCK)
pdl = PdlClient(base_url="https://api.example", api_key=KEY, now=CLOCK.now)
youtube = YouTubeClient(base_url="https://api.example", api_key=KEY, now=CLOCK.now)


def recordings() -> dict[str, dict[str, Any]]:
    """Name → call, status, headers, body and expectations; the folder's too if it exists."""
    named = os.environ.get("RECORDED_REPLIES")
    beside = [up / "shared" / "data" / "replies" for up in CHECKOUT.parents[:2]]
    folder = Path(named) if named else next(filter(Path.is_dir, beside), None)
    found = dict(OWN)
    for path in sorted(folder.rglob("*.expected.json")) if folder else ():
        name = path.name.removesuffix(".expected.json")
        recorded = json.loads(path.with_name(f"{name}.json").read_bytes())
        recorded["expected"] = json.loads(path.read_bytes())
        found[f"{path.parent.name}-recorded-{name}"] = recorded
    return found


RECORDINGS = recordings()


def call_of(spec: Mapping[str, Any]) -> ProviderCall[Any]:
    """The call that a recording answers."""
    operations: dict[tuple[str, str], Callable[[], ProviderCall[Any]]] = {
        ("scaleserp", "search"): lambda: scaleserp.search(
            SearchSpec("x", ContentType(spec["content_type"]))
        ),
        ("scaleserp", "find_batch"): lambda: scaleserp.find_batch_by_name(spec["name"]),
        ("scaleserp", "result_set"): lambda: scaleserp.result_set("B1", spec["result_set_id"]),
        ("dataforseo", "search_volume"): lambda: dataforseo.search_volume(
            spec["keywords"], 2840, "en"
        ),
        ("llm", "completion"): lambda: llm.ask("completion", QUESTION, {"text": "x"}),
        ("pdl", "company_enrich"): lambda: pdl.enrich(spec["domain"]),
        ("youtube", "videos"): lambda: youtube.videos(spec["ids"]),
        ("youtube", "channels"): lambda: youtube.channels(spec["ids"]),
        ("youtube", "search"): lambda: youtube.search("x", kind=spec["kind"]),
    }
    return operations[spec["provider"], spec["operation"]]()


# --- values, in the terms of the expectations ---------------------------------------------------


def search_of(page: Any) -> dict[str, Any]:
    return {
        "kind": "organic",
        "query": page.query,
        "total_results": page.total_results,
        "says_no_results": page.zero_results,
        "ai_overview": bool(page.has_ai_overview),
        "credits_used": page.credits_used,
        "credits_remaining": page.credits_remaining,
        "further_pages": list(page.other_pages),
        "unusable_results": page.unreadable,
        "results": [
            {
                "url": r.url,
                "host": r.domain,
                "title": r.title,
                "position_on_page": r.position,
                "position_overall": r.overall_position,
                "block_position": r.block_position,
                "page": r.page,
                "snippet": r.snippet,
                "date": r.date,
                "date_utc": r.date_utc,
            }
            for r in page.organic
        ],
    }


def batch_of(batch: Any) -> dict[str, Any]:
    return {
        "batch": {
            "id": batch.id,
            "name": batch.name,
            "state": batch.status,
            "searches": batch.searches_total_count,
            "result_sets": batch.results_count,
        }
    }


def result_set_of(found: Any) -> dict[str, Any]:
    return {
        "result_sets": [
            {
                "id": found.id,
                "completed": found.searches_completed,
                "failed": found.searches_failed,
                "total": found.searches_total,
                "pages": found.page_count,
                "links": list(found.page_links),
            }
        ]
    }


def volumes_of(answer: Any) -> dict[str, Any]:
    return {
        "cost_usd": answer.cost_usd,
        "keywords": {
            row.keyword: {
                "volume": row.search_volume,
                "competition": row.competition,
                "competition_index": row.competition_index,
                "cpc": row.cpc,
                "low_bid": row.low_top_of_page_bid,
                "high_bid": row.high_top_of_page_bid,
                "spell": row.spell,
                "months": len(row.monthly),
                "newest_month": f"{newest.year}-{newest.month:02}",
                "newest_volume": newest.search_volume,
            }
            for row in answer.metrics
            for newest in [max(row.monthly, key=lambda m: (m.year, m.month))]
        },
    }


def completion_of(answer: Any) -> dict[str, Any]:
    return {
        "object": answer.content,
        "model": None if answer.model == "unknown" else answer.model,
        "prompt_tokens": answer.usage and answer.usage.prompt,
        "completion_tokens": answer.usage and answer.usage.completion,
    }


def company_of(company: Any) -> dict[str, Any]:
    if company is None:
        return {"company": None}
    return {
        "company": {
            "name": company.name,
            "industry": company.industry,
            "country": company.country,
            "headquarters": company.headquarters,
            "employees": company.employee_count,
            "founded": company.founded,
            "linkedin": company.linkedin_url,
            "ticker": company.ticker,
            "id": company.source_id,
        }
    }


def videos_of(videos: Any) -> dict[str, Any]:
    return {
        "videos": {
            video.id: {
                "title": video.title,
                "channel": video.channel_id,
                "published": f"{video.published_at:%Y-%m-%dT%H:%M:%S}",
                "seconds": video.duration_seconds,
                "views": video.views,
                "likes": video.likes,
                "comments": video.comments,
            }
            for video in videos.values()
        }
    }


def channels_of(channels: Any) -> dict[str, Any]:
    return {
        "channels": {
            channel.id: {
                "title": channel.title,
                "handle": channel.handle,
                "country": channel.country,
                "subscribers": channel.subscribers,
                "views": channel.views,
                "videos": channel.video_count,
            }
            for channel in channels.values()
        }
    }


READERS: Mapping[tuple[str, str], Callable[[Any], dict[str, Any]]] = {
    ("scaleserp", "search"): search_of,
    ("scaleserp", "find_batch"): batch_of,
    ("scaleserp", "result_set"): result_set_of,
    ("dataforseo", "search_volume"): volumes_of,
    ("llm", "completion"): completion_of,
    ("pdl", "company_enrich"): company_of,
    ("youtube", "videos"): videos_of,
    ("youtube", "channels"): channels_of,
    ("youtube", "search"): lambda page: {"ids": list(page.ids), "next": page.next_page_token},
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_recorded_reply(name: str) -> None:
    """A real API's reply gives the expected values or the expected failure."""
    recorded = RECORDINGS[name]
    expected, spec = dict(recorded["expected"]), recorded["call"]
    text = recorded.get("text") or json.dumps(recorded["body"])
    body = text.encode()
    outcome = expected.pop("outcome")
    if spec["operation"] == "webhook":
        found = parse_notice(body)
        assert found is not None
        assert expected["notice"] == {"batch": found.batch_id, "result_set": found.result_set_id}
        return
    call = call_of(spec)
    reply = HttpReply(recorded["status"], recorded["headers"], body)
    if "billed" in expected:
        assert call.billed is not None
        assert call.billed(reply) == expected.pop("billed")
    if outcome == "failure":
        with pytest.raises(ProviderError) as caught:
            call.parse(reply)
        is_failure(caught.value, expected)
        return
    read = READERS[spec["provider"], spec["operation"]](call.parse(reply))
    assert {key: read[key] for key in expected} == expected


def is_failure(error: ProviderError, expected: Mapping[str, Any]) -> None:
    assert error.category is MEANINGS[expected["means"]], str(error)
    assert error.permanent is (expected["try_again"] is False)
    wait = error.retry_after_seconds
    if "wait_seconds" in expected:
        assert wait == expected["wait_seconds"]
    if "wait_seconds_min" in expected:
        assert wait is not None
        assert wait >= expected["wait_seconds_min"]
    if expected["try_again"] == "after_the_day":
        assert wait is not None
        # Midnight in Los Angeles, from noon in London.
        assert timedelta(seconds=wait) == timedelta(hours=20)
    assert expected.get("message_contains", "") in str(error)
    if expected["means"] == "refused_by_model":
        assert not error.breaker_failure
