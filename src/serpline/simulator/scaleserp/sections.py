"""The sections of a result page: organic and its surroundings, news, videos."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from serpline.simulator.seeds import mix, stream, unit
from serpline.simulator.world import World
from serpline.simulator.world.companies import Kind
from serpline.simulator.world.market import Ranked, slug_of
from serpline.simulator.world.text import capital, news_title, snippet_of, title_of
from serpline.simulator.world.videos import CHANNELS

ORGANIC_PAGE_SIZE = 10
_NEWS_DAILY, _VIDEO_DAILY = 0.45, 0.12
_SCALE = float(1 << 64)

Sections = dict[str, Any]


def organic_sections(
    world: World,
    day: date,
    keyword: str,
    country: str,
    device: str,
    page: int,
    *,
    overview: bool,
    label: int | None,
) -> Sections:
    """Ten organic results; sometimes ads, an overview, stories, questions and searches."""
    ranked = world.market.organic(keyword, country, device, day, page * ORGANIC_PAGE_SIZE)
    around = stream(world.seed, "around", keyword.lower(), country, day)
    block = 1
    sections: Sections = {}
    if page == 1 and around.random() < 0.3:
        count = around.randint(1, 3)
        sections["ads"] = [
            _ad(ranked[(slot * 3) % len(ranked)], keyword, slot + 1) for slot in range(count)
        ]
        block += count
    if page == 1 and unit(world.seed, "overview", keyword.lower(), country) < 0.35 and overview:
        sections["ai_overview"] = _overview(ranked, keyword, block)
        block += 1
    stories = page == 1 and around.random() < 0.2
    questions = page == 1 and around.random() < 0.5
    results = []
    for position, one in enumerate(ranked[-ORGANIC_PAGE_SIZE:], 1):
        results.append(_organic(world, day, one, keyword, position, block, page, label))
        block += 1
        if position == 1 and stories:
            sections["top_stories"] = _stories(world, day, keyword, country, block)
            block += 1
        if position == 3 and questions:
            sections["related_questions"] = _questions(ranked, keyword, block)
            block += 1
    sections["organic_results"] = results
    if page == 1 and around.random() < 0.8:
        sections["related_searches"] = _related(keyword)
    return sections


def news_results(
    world: World,
    day: date,
    keyword: str,
    country: str,
    page: int,
    period: tuple[date, date],
    label: int | None,
) -> Sections:
    """Ten news articles with dates and sources; recent days are more likely."""
    count = page * ORGANIC_PAGE_SIZE
    salts = world.market.drawn("news", keyword, country, day, count, daily=_NEWS_DAILY)
    rows: list[dict[str, Any]] = []
    for position, salt in enumerate(salts[-ORGANIC_PAGE_SIZE:], 1):
        # Two slots may draw the same article; the slot's number makes the URLs differ.
        row = _article(world, keyword, salt, period, count + position)
        row = {"position": position, **row, "thumbnail": f"https://img.example/n/{salt % 9999}.jpg"}
        rows.append(row if label is None else {**row, "page": label})
    return {"news_results": rows}


def video_results(
    world: World, day: date, keyword: str, country: str, page: int, label: int | None
) -> Sections:
    """Ten videos, nearly all on YouTube, from channels that exist there."""
    count = page * ORGANIC_PAGE_SIZE
    salts = world.market.drawn("video", keyword, country, day, count, daily=_VIDEO_DAILY)
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    for slot, salt in enumerate(salts):
        link, row = _video(world, keyword, salt)
        probe = 0
        while link in seen:
            probe += 1
            link, row = _video(world, keyword, mix(salt, probe, 1))
        seen.add(link)
        if slot >= count - ORGANIC_PAGE_SIZE:
            position = slot % ORGANIC_PAGE_SIZE + 1
            paged = {} if label is None else {"page": label}
            rows.append({"position": position, **row, **paged})
    return {"video_results": rows}


def _video(world: World, keyword: str, salt: int) -> tuple[str, dict[str, Any]]:
    if salt % 25 == 0:
        owner = world.market.pick(Kind.MID, mix(salt, 1, 9))
        domain = f"www.{owner.domain}"
        link = f"https://{domain}/videos/{slug_of(keyword)}"
        title, length, snippet = f"{capital(keyword)} ({owner.name})", 183, owner.name
        published = datetime(2026, 1, 1) - timedelta(days=salt % 700)  # noqa: DTZ001  a day
        shown, utc = published.strftime("%b %d, %Y"), published.strftime("%Y-%m-%dT00:00:00.000Z")
    else:
        channel = int(CHANNELS * (mix(salt, 1, 7) / _SCALE) ** 1.8)
        video = world.videos.show(channel, keyword, salt)
        domain, link = "www.youtube.com", f"https://www.youtube.com/watch?v={video.id}"
        title, length = video.title, video.seconds
        snippet = video.description[:120]
        utc = video.published_at.replace("Z", ".000Z")
        shown = datetime.fromisoformat(video.published_at).strftime("%b %d, %Y")
    return link, {
        "title": title,
        "link": link,
        "domain": domain,
        "displayed_link": f"https://{domain}",
        "date": shown,
        "date_utc": utc,
        "snippet": snippet,
        "image": f"https://img.example/v/{salt % 9999}.jpg",
        "length": f"{length // 60}:{length % 60:02d}",
    }


def _article(
    world: World, keyword: str, salt: int, period: tuple[date, date], number: int
) -> dict[str, Any]:
    publisher = world.market.pick(Kind.PUBLISHER, mix(salt, 1, 3), steepness=2.2)
    first, last = period
    age = int(((last - first).days + 1) * (mix(salt, 1, 4) / _SCALE) ** 2)
    published = last - timedelta(days=age)
    at = datetime.combine(published, time(salt % 24, salt % 60), UTC)
    path = f"{published:%Y/%m/%d}/{slug_of(keyword)}-{salt % 9000 + 1000}{number:02d}"
    return {
        "title": news_title(keyword, publisher.name, salt),
        "link": f"https://www.{publisher.domain}/{path}",
        "domain": f"www.{publisher.domain}",
        "source": publisher.name,
        "date": f"{age} days ago" if age else "5 hours ago",
        "date_utc": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "snippet": snippet_of(keyword, publisher.name, salt),
    }


def _organic(
    world: World,
    day: date,
    one: Ranked,
    keyword: str,
    position: int,
    block: int,
    page: int,
    label: int | None,
) -> dict[str, Any]:
    domain = one.url.split("/", 3)[2]
    row: dict[str, Any] = {
        "position": position,
        "title": title_of(keyword, one.company.name, one.salt),
        "link": one.url,
        "domain": domain,
        "displayed_link": f"https://{domain} › {one.url.split('/', 4)[3] or 'home'}",
        "snippet": snippet_of(keyword, one.company.name, one.salt),
        "prerender": False,
        "block_position": block,
    }
    if one.salt % 5 == 0:
        published = day - timedelta(days=one.salt % 900)
        row["date"] = published.strftime("%b %d, %Y")
        row["date_utc"] = f"{published.isoformat()}T00:00:00.000Z"
    if one.salt % 11 == 0:
        row["sitelinks"] = {
            "inline": [{"title": "Offers", "link": f"https://{domain}/offers"}],
        }
    if label is not None:
        row["page"] = label
        row["position_overall"] = (page - 1) * ORGANIC_PAGE_SIZE + position
    return row


def _ad(one: Ranked, keyword: str, position: int) -> dict[str, Any]:
    domain = f"www.{one.company.domain}"
    return {
        "position": position,
        "block_position": position,
        "title": f"{capital(keyword)} | Official {one.company.name} site",
        "link": f"https://{domain}/offers?source=ad",
        "domain": domain,
        "displayed_link": f"https://{domain}",
        "description": f"Compare {keyword} and save today.",
        "is_local": False,
    }


def _overview(ranked: list[Ranked], keyword: str, block: int) -> dict[str, Any]:
    sources = ranked[:4]
    return {
        "block_position": block,
        "ai_overview_contents": [
            {"type": "paragraph", "text": f"{capital(keyword)} depends on season and provider."},
            {"type": "paragraph", "text": f"{sources[0].company.name} is often named first."},
        ],
        "ai_overview_sources": [
            {"title": title_of(keyword, one.company.name, one.salt), "link": one.url}
            for one in sources
        ],
    }


def _stories(
    world: World, day: date, keyword: str, country: str, block: int
) -> list[dict[str, Any]]:
    salts = world.market.drawn("story", keyword, country, day, 3, daily=0.8)
    stories = []
    for number, salt in enumerate(salts):
        row = _article(world, keyword, salt, (day - timedelta(days=3), day), number)
        del row["snippet"]
        extra = {"visible_initially": True, "video": False, "live": False, "block_position": block}
        stories.append({**row, **extra})
    return stories


def _questions(ranked: list[Ranked], keyword: str, block: int) -> list[dict[str, Any]]:
    return [
        {
            "question": question,
            "answer": snippet_of(keyword, one.company.name, one.salt),
            "source": {"link": one.url, "title": title_of(keyword, one.company.name, one.salt)},
            "block_position": block,
        }
        for question, one in zip(
            (f"Is {keyword} worth it?", f"How much is {keyword}?"), ranked, strict=False
        )
    ]


def _related(keyword: str) -> list[dict[str, Any]]:
    return [
        {"query": f"{keyword} {extra}", "link": "https://www.google.com/search", "type": "standard"}
        for extra in ("price", "reviews", "near me", "last minute")
    ]
