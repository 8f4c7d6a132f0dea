"""ScaleSERP's wire: the requests, the parsed replies, and the error of each refusal."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serpline.core.clock import SystemClock
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.names import ContentType, Device
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.providers.scaleserp.spec import SearchSpec
from serpline.providers.scaleserp.wire import serp_page

KEY = "K3Y-of-scale+serp/42"
CAPTURED = Path(__file__).parents[2] / "data" / "scaleserp_search_web_2025.json"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PIZZA = SearchSpec("domino’s pizza", device=Device.MOBILE)


class FixedClock(SystemClock):
    """Noon."""

    def now(self) -> datetime:
        return NOW


client = ScaleSerpClient("https://api.scaleserp.com/", KEY, FixedClock())


def reply(body: Any, status: int = 200, **headers: str) -> HttpReply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status, {k.replace("_", "-"): v for k, v in headers.items()}, raw)


def ok(**sections: Any) -> dict[str, Any]:
    info = {"success": True, "credits_used_this_request": 1, "credits_remaining": 95}
    return {"request_info": info, **sections}


def refusal(call: Any, answer: HttpReply) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        call.parse(answer)
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value)
    assert caught.value.provider == "scaleserp"
    return caught.value


# --- the captured reply -------------------------------------------------------------------------


def test_captured_reply() -> None:
    """A real reply gives 15 organic results with dates, domains and block positions."""
    page = client.search(PIZZA).parse(reply(CAPTURED.read_bytes()))

    assert [r.position for r in page.organic] == list(range(1, 16))
    assert [r.overall_position for r in page.organic] == list(range(1, 16))
    assert page.organic[0].domain == "www.dominos.fr"
    assert page.organic[0].url == "https://www.dominos.fr/"
    assert page.organic[7].date == "15 janv. 2025"
    assert page.organic[10].date_utc == "2025-08-05T00:00:00.000Z"
    blocks = [3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 20]
    assert [r.block_position for r in page.organic] == blocks
    assert sum(r.date is not None for r in page.organic) == 2
    assert (page.news, page.video, page.unreadable) == ((), (), 0)
    assert page.query == "domino’s pizza"
    assert (page.page, page.total_results, page.zero_results) == (1, 33_000_000, False)
    assert (page.credits_used, page.credits_remaining) == (1.0, 95.0)
    assert page.other_pages[:2] == (2, 3)
    assert page.has_ai_overview is None


def test_captured_reply_is_no_news() -> None:
    """The same reply to a news search has no news and is rejected as empty."""
    call = client.search(SearchSpec("pizza", ContentType.NEWS))
    error = refusal(call, reply(CAPTURED.read_bytes()))
    assert (error.category, error.permanent) == (ErrorCategory.EMPTY, False)
    assert not error.breaker_failure


# --- requests -----------------------------------------------------------------------------------


def test_search_request() -> None:
    """A search is a GET whose only authentication is the query parameter ``api_key``."""
    spec = SearchSpec(
        "吕梁市 三川河",
        ContentType.NEWS,
        Device.TABLET,
        location="Paris,Paris,Ile-de-France,France",
        google_domain="google.fr",
        gl="fr",
        hl="fr",
        sort_by="date",
        time_period="last_week",
        include_ai_overview=True,
        max_page=2,
    )
    call = client.search(spec)
    assert call.request.method == "GET"
    assert call.request.url == "https://api.scaleserp.com/search"
    assert call.request.params == {
        "q": "吕梁市 三川河",
        "search_type": "news",
        "location": "Paris,Paris,Ile-de-France,France",
        "google_domain": "google.fr",
        "gl": "fr",
        "hl": "fr",
        "device": "tablet",
        "max_page": "2",
        "time_period": "last_week",
        "sort_by": "date",
        "include_ai_overview": "true",
        "skip_on_incident": "all",
        "location_auto": "false",
        "api_key": KEY,
    }
    assert call.request.headers == {}
    assert call.request.secrets == (KEY,)
    assert call.credits == 3.0


def test_key_stays_in_the_request() -> None:
    """No identity and no representation of the client has the key."""
    calls: list[Any] = [
        client.search(PIZZA),
        client.create_batch("n", "web", notification_webhook="https://me.example/hook/s3cret"),
        client.get_batch("B1"),
        client.start("B1"),
        client.account(),
    ]
    for call in calls:
        assert KEY not in json.dumps(call.identity)
        assert "s3cret" not in json.dumps(call.identity)
    assert KEY not in repr(client)


def test_web_search_has_no_type() -> None:
    """The vendor's default type is web, so an organic search sends none; videos is plural."""
    assert "search_type" not in client.search(PIZZA).request.params
    video = client.search(SearchSpec("pizza", ContentType.VIDEO))
    assert video.request.params["search_type"] == "videos"


@pytest.mark.parametrize(
    "fields",
    [{"q": "  "}, {"content_type": ContentType.ALL}, {"max_page": 6}, {"page": 0}, {"max_page": 0}],
)
def test_impossible_search(fields: dict[str, Any]) -> None:
    """A search that could only be refused or billed by surprise is rejected."""
    with pytest.raises(ValueError, match=r"query|searched for|out of range"):
        SearchSpec(**({"q": "pizza"} | fields))


# --- parsing pages ------------------------------------------------------------------------------


def test_overall_position() -> None:
    """The overall position is as given, else computed from the page, else the position."""
    link = "https://a.example/"
    given = ok(
        search_parameters={"q": "x", "page": "3"},
        pagination={"current": 123456789},
        organic_results=[
            {"position": 1, "link": link, "page": 2, "position_overall": 14},
            {"position": 2, "link": link, "page": 2},
            {"position": 2, "link": link},
            {"position": "many", "link": link},
        ],
    )
    results = serp_page(given).organic
    assert [r.overall_position for r in results] == [14, 12, 22, 24]
    assert [r.position for r in results] == [1, 2, 2, None]
    assert serp_page(ok(organic_results=[{"position": 7, "link": link}])).organic[0].page == 1


def test_news_and_videos() -> None:
    """News and video results keep source, dates and length as given."""
    news = {
        "position": 1,
        "title": "Tide",
        "link": "https://news.example/a",
        "domain": "news.example",
        "source": "The News",
        "date": "2 hours ago",
        "date_utc": "2026-03-01T10:00:00.000Z",
        "snippet": "…",
        "thumbnail": "data:…",
    }
    video = {"position": 1, "title": "V", "link": "https://www.youtube.com/watch?v=x"}
    page = serp_page(ok(news_results=[news], video_results=[video | {"length": "12:34"}]))
    assert page.results(ContentType.NEWS)[0].source == "The News"
    assert page.results(ContentType.NEWS)[0].date_utc == "2026-03-01T10:00:00.000Z"
    assert page.results(ContentType.VIDEO)[0].length == "12:34"
    assert page.results(ContentType.VIDEO)[0].domain == "www.youtube.com"


@pytest.mark.parametrize(
    ("other_pages", "expected"),
    [
        ({"2": "https://g.example/2", "3": "https://g.example/3"}, (2, 3)),
        ([{"page": 3, "link": "…"}, {"page": 2, "link": "…"}], (2, 3)),
        ([2, None, {"link": "…"}], ()),
        ("2", ()),
    ],
)
def test_other_pages(other_pages: Any, expected: tuple[int, ...]) -> None:
    """``other_pages`` is read as an object or a list, and ignored as anything else."""
    assert serp_page(ok(pagination={"other_pages": other_pages})).other_pages == expected


def test_unusable_results_are_counted() -> None:
    """A result without a web link is counted; the others stay."""
    values = [{"link": "https://a.example/"}, {"title": "?"}, {"link": "ftp://b.example/"}, "?"]
    page = serp_page(ok(organic_results=values))
    assert (len(page.organic), page.unreadable) == (1, 3)


@pytest.mark.parametrize(
    "about", [{"original_query_yields_zero_results": True}, {"total_results": 0}]
)
def test_zero_results_is_an_answer(about: dict[str, Any]) -> None:
    """A page that states that nothing matches is an answer without results."""
    page = client.search(PIZZA).parse(reply(ok(search_information=about)))
    assert page.organic == ()


@pytest.mark.parametrize(
    ("asked", "section", "shown"),
    [
        ({}, {"text": "…"}, True),
        ({}, {}, None),
        ({"include_ai_overview": "false"}, {}, None),
        ({"include_ai_overview": "true"}, {}, False),
        ({"include_ai_overview": True}, {}, False),
        ({"include_ai_overview": "true"}, {"text": "…"}, True),
    ],
)
def test_ai_overview(asked: dict[str, Any], section: dict[str, str], *, shown: bool | None) -> None:
    """An AI overview has content; None if the search did not ask for one."""
    page = serp_page(ok(ai_overview=section, search_parameters=asked))
    assert page.has_ai_overview is shown


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "category", "permanent"),
    [
        (400, ErrorCategory.BAD_REQUEST, True),
        (401, ErrorCategory.AUTH, True),
        (402, ErrorCategory.QUOTA, True),
        (404, ErrorCategory.BAD_REQUEST, True),
        (429, ErrorCategory.RATE_LIMIT, False),
        (500, ErrorCategory.SERVER, False),
        (503, ErrorCategory.SERVER, False),
    ],
)
def test_refusals(status: int, category: ErrorCategory, permanent: bool) -> None:
    """Each documented status has its category; the message has the vendor's words and no key."""
    body = {"request_info": {"success": False, "message": f"no: https://x.y/?api_key={KEY} {KEY}"}}
    error = refusal(client.search(PIZZA), reply(body, status))
    assert (error.category, error.permanent, error.http_status) == (category, permanent, status)
    assert str(error) == f"scaleserp HTTP {status}: no: [url] [secret]"


def test_incident() -> None:
    """The body of a parsing incident states the wait in seconds."""
    body = {"message": "Request type google-web is temporarily unavailable", "retry_after": 3600}
    error = refusal(client.search(PIZZA), reply(body, 503))
    assert error.retry_after_seconds == 3600
    assert error.breaker_failure


def test_retry_after_header() -> None:
    """``Retry-After`` is read as seconds and as a date."""
    seconds = refusal(client.search(PIZZA), reply({}, 429, retry_after="7"))
    date = refusal(
        client.search(PIZZA), reply({}, 429, retry_after="Sun, 01 Mar 2026 12:01:00 GMT")
    )
    assert (seconds.retry_after_seconds, date.retry_after_seconds) == (7, 60)


def test_failure_with_status_200() -> None:
    """``success`` false is a failure whatever the status, and may be retried."""
    body = {"request_info": {"success": False, "message": "could not be completed"}}
    error = refusal(client.search(PIZZA), reply(body))
    assert (error.category, error.permanent) == (ErrorCategory.SERVER, False)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"request_info":{"suc', b"[]", b"\xff\xfe", b"[" * 100_000, b"NaN"]
)
def test_no_json(body: bytes) -> None:
    """A body that is not a JSON object is malformed and may be retried."""
    error = refusal(client.search(PIZZA), reply(body))
    assert (error.category, error.permanent) == (ErrorCategory.MALFORMED, False)


def test_billing() -> None:
    """The reply states its cost; a reply that is not 200 costs nothing."""
    billed = client.search(PIZZA).billed
    assert billed is not None
    assert billed(reply({"request_info": {"credits_used_this_request": 2}})) == 2
    assert billed(reply(ok() | {"request_info": {"success": True}})) == 1
    assert billed(reply({"request_info": {"credits_used_this_request": 1}}, 500)) == 0
    start = client.start("B1", credits_required=40).billed
    assert start is not None
    assert (start(reply({"request_info": {"success": True}})), start(reply({}, 402))) == (40, 0)
