"""A run with generated inputs of the DSI, written by COPY.

A seeded generator makes the rows. As in real search results, a few companies rank for many keywords
and most for few. 600,000 results contain some 100,000 companies.
"""

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from serpline.config.run import PipelineConfig
from serpline.core.ids import new_id
from serpline.domain.names import ContentType, PhaseName, PipelineMode
from serpline.domain.phases import lanes_of
from serpline.domain.states import LaneStatus
from serpline.store import projects
from serpline.store.database import Database
from serpline.store.queue.wakeups import WakeUp, wake
from serpline.store.runs import runs

Row = Sequence[Any]

KIND, MARKET, DEVICE = ContentType.ORGANIC, "US", "desktop"
DEPTH, ANALYSIS_DEPTH = 30, 10
DOMAINS, CHANNELS, PAGES_OF_A_DOMAIN = 300_000, 3_000, 40
VIDEO_SHARE, UNKNOWN_VOLUME_SHARE, OVERVIEW_SHARE = 0.04, 0.05, 0.2
SEED = 20
_AT = datetime(2026, 11, 1, tzinfo=UTC)
_SNIPPET = (
    "What to look for, what it costs, and which of them lasted for longest in our own test. " * 2
)
_ANALYSED: Row = ("[]", "neutral", "article", [], [], _SNIPPET, "generated", "generated", _AT)


async def create_run(database: Database) -> UUID:
    """Create a run whose only pending lanes are one content type's DSI and the combined DSI."""
    run_id = new_id()
    lanes = [
        (
            key,
            LaneStatus.PENDING if key.phase is PhaseName.DSI_CALCULATION else LaneStatus.COMPLETED,
        )
        for key in lanes_of([KIND])
    ]
    config = PipelineConfig(content_types=(KIND,), analysis_depth=ANALYSIS_DEPTH)
    async with database.transaction() as conn:
        await projects.ensure_builtin_markets(conn)
        await runs.create(
            conn,
            run_id,
            mode=PipelineMode.MANUAL,
            config=config.to_json(),
            lanes=lanes,
            is_due=False,
        )
    return run_id


async def start(database: Database, run_id: UUID) -> None:
    """Wake the workers for the run."""
    async with database.transaction() as conn:
        await wake(conn, [WakeUp("run", str(run_id))])


def fill(conninfo: str, run_id: UUID, pairs: int) -> int:
    """Write the rows of ``pairs`` keyword × market pairs; returns the number of results."""
    rng = random.Random(SEED)
    keywords = range(1, pairs + 1)
    results = list(_results(rng, run_id, keywords))
    subjects = sorted(
        {
            f"v:{row[11]}" if row[11] else f"u:{row[7]}"
            for row in results
            if row[6] <= ANALYSIS_DEPTH
        }
    )
    videos = sorted({row[11] for row in results if row[11]})
    channels = [f"UC{n:022}" for n in range(CHANNELS)]
    run, kind = str(run_id), str(KIND)
    with psycopg.connect(conninfo) as conn:

        def copy(table: str, columns: str, rows: Iterable[Row]) -> None:
            statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
                sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns.split()))
            )
            with conn.cursor().copy(statement) as target:
                for row in rows:
                    target.write_row(row)

        copy(
            "run_keywords",
            "run_id keyword_id keyword market",
            ((run, n, f"keyword {n}", MARKET) for n in keywords),
        )
        copy(
            "keyword_metrics",
            "run_id keyword_id market search_volume source fetched_at",
            ((run, n, MARKET, _volume(rng), "generated", _AT) for n in keywords),
        )
        copy(
            "serps",
            "run_id content_type keyword_id market device collected_at results ai_overview source",
            (
                (run, kind, n, MARKET, DEVICE, _AT, DEPTH, _happens(rng, OVERVIEW_SHARE), "x")
                for n in keywords
            ),
        )
        copy(
            "serp_results",
            "run_id content_type keyword_id market device rank position canonical_url url domain"
            " title video_id snippet",
            results,
        )
        copy(
            "youtube_videos",
            "run_id video_id found channel_id fetched_at",
            ((run, video, True, rng.choice(channels), _AT) for video in videos),
        )
        copy(
            "youtube_channels",
            "run_id channel_id found handle fetched_at",
            ((run, channel, True, f"@{channel[-6:]}", _AT) for channel in channels),
        )
        copy(
            "channel_owners",
            "run_id channel_id domain method",
            (
                (run, channel, _domain(rng) if _happens(rng, 0.5) else None, "generated")
                for channel in channels
            ),
        )
        copy(
            "content_analyses",
            "run_id content_type subject market relevance judged_for sentiment content_kind topics"
            " brands summary model prompt fetched_at",
            (
                (run, kind, subject, MARKET, round(rng.random(), 2), *_ANALYSED)
                for subject in subjects
            ),
        )
    return len(results)


def _results(rng: random.Random, run_id: UUID, keywords: Iterable[int]) -> Iterator[Row]:
    for keyword in keywords:
        for rank in range(1, DEPTH + 1):
            if _happens(rng, VIDEO_SHARE):
                video = f"v{rng.randrange(20_000):010}"
                domain, url = "youtube.com", f"https://www.youtube.com/watch?v={video}"
            else:
                video, domain = None, _domain(rng)
                page = rng.randrange(PAGES_OF_A_DOMAIN)
                url = f"https://www.{domain}/guides/how-to-choose-{page}"
            yield (
                *(str(run_id), str(KIND), keyword, MARKET, DEVICE, rank, rank, url, url, domain),
                *(f"How to choose, number {rank} of {keyword}", video, _SNIPPET),
            )


def _domain(rng: random.Random) -> str:
    """A company's domain; its probability is proportional to the inverse of its number."""
    return f"company-{int(math.exp(rng.random() * math.log(DOMAINS))):06}.example"


def _volume(rng: random.Random) -> int | None:
    """Searches per month; None if unknown."""
    if _happens(rng, UNKNOWN_VOLUME_SHARE):
        return None
    return round(rng.lognormvariate(6, 2) / 10) * 10


def _happens(rng: random.Random, share: float) -> bool:
    return rng.random() < share
