"""YouTube Data on the wire: the requests, and the meaning of each reply."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from serpline.domain.errors import ErrorCategory, ProviderError, UserError
from serpline.domain.http import HttpReply
from serpline.providers.youtube.client import YouTubeClient
from serpline.providers.youtube.errors import seconds_until_quota_resets
from serpline.providers.youtube.links import LINKS_MAX, find_links
from serpline.providers.youtube.wire import Channel, Playlist, SearchPage, Video, duration_seconds

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DOCUMENTS = Path(__file__).parent / "documents"
VIDEOS = (DOCUMENTS / "youtube_videos.json").read_bytes()
CHANNELS = (DOCUMENTS / "youtube_channels.json").read_bytes()
PLAYLISTS = (DOCUMENTS / "youtube_playlists.json").read_bytes()
SEARCH = (DOCUMENTS / "youtube_search.json").read_bytes()
NORTHWIND = "UCnorthwindnorthwindnor0"
HIDDEN = "UChiddenhiddenhiddenhid1"
YOUTUBE = YouTubeClient(
    base_url="http://yt.example/youtube/v3", api_key="yt-secret", now=lambda: NOW
)


def reply(body: Any, status: int = 200, **headers: str) -> HttpReply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status=status, headers=names, body=raw)


def google_error(status: int, *reasons: str, details: tuple[str, ...] = ()) -> HttpReply:
    return reply(
        {
            "error": {
                "code": status,
                "message": "The request with key yt-secret failed.",
                "errors": [{"domain": "youtube.quota", "reason": reason} for reason in reasons],
                "details": [{"@type": "ErrorInfo", "reason": reason} for reason in details],
            }
        },
        status,
    )


def error_of(given: HttpReply) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        YOUTUBE.videos(["aaaaaaaaaa1"]).parse(given)
    return caught.value


def test_ids_are_sorted_and_unique_and_the_key_is_no_part_of_the_identity() -> None:
    """The same ids make the same call; the ledger's key has no secret."""
    one = YOUTUBE.videos(["bbbbbbbbbb2", "aaaaaaaaaa1", "bbbbbbbbbb2"])
    two = YOUTUBE.videos(["aaaaaaaaaa1", "bbbbbbbbbb2"])
    assert one.request == two.request
    assert one.identity == two.identity
    assert one.request.url == "http://yt.example/youtube/v3/videos"
    assert one.request.params["id"] == "aaaaaaaaaa1,bbbbbbbbbb2"
    assert one.request.params["key"] == "yt-secret"
    assert one.request.secrets == ("yt-secret",)
    assert "yt-secret" not in json.dumps(one.identity)
    assert one.credits == 1.0


@pytest.mark.parametrize("ids", [[], [f"id{n}" for n in range(51)], ["a,b"], ["a b"], [""]])
def test_invalid_ids_are_rejected(ids: list[str]) -> None:
    """No ids, more than fifty, or one with a comma: rejected before a unit is spent."""
    with pytest.raises(UserError):
        YOUTUBE.videos(ids)
    with pytest.raises(UserError):
        YOUTUBE.channels(ids)


def test_fifty_ids_are_one_call() -> None:
    """The bound itself is allowed."""
    assert YOUTUBE.videos(f"id{n}" for n in range(50)).request.params["id"].count(",") == 49


def test_videos_are_read_with_figures_that_are_strings() -> None:
    """Counts are parsed from text; a live video has 0 s; a hidden figure is None."""
    found = YOUTUBE.videos(["aaaaaaaaaa1", "bbbbbbbbbb2", "gone-gone-g"]).parse(reply(VIDEOS))
    assert found == {
        "aaaaaaaaaa1": Video(
            id="aaaaaaaaaa1",
            channel_id=NORTHWIND,
            title="Ten islands — 十座岛",
            description="Where to go.",
            published_at=datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC),
            duration_seconds=3723,
            views=1234567,
            likes=8901,
            comments=234,
        ),
        "bbbbbbbbbb2": Video(
            id="bbbbbbbbbb2",
            channel_id=NORTHWIND,
            title="Live from the pier",
            description="",
            published_at=datetime(2026, 3, 1, tzinfo=UTC),
            duration_seconds=0,
            views=17,
            likes=None,
            comments=None,
        ),
    }


def test_an_unrequested_video_is_left_out() -> None:
    """The answer has requested ids only."""
    assert set(YOUTUBE.videos(["aaaaaaaaaa1"]).parse(reply(VIDEOS))) == {"aaaaaaaaaa1"}


def test_channels_are_read_and_hidden_subscribers_are_unknown() -> None:
    """A channel with hidden subscribers has the figure "0"; it is unknown."""
    found = YOUTUBE.channels([NORTHWIND, HIDDEN]).parse(reply(CHANNELS))
    assert found[NORTHWIND] == Channel(
        id=NORTHWIND,
        title="Northwind",
        description=(
            "Journeys since 1998. Book at https://www.northwind.com/book?ref=yt. "
            "Mail: hello@northwind.com"
        ),
        handle="@northwind",
        country="US",
        subscribers=1_200_000,
        views=99_887_766,
        video_count=512,
        links=("https://www.northwind.com/book?ref=yt", "northwind-shop.co.uk"),
    )
    quiet = found[HIDDEN]
    assert (quiet.subscribers, quiet.handle, quiet.country, quiet.links) == (None, None, None, ())
    assert quiet.views == 5


@pytest.mark.parametrize("handle", ["northwind", "@northwind"])
def test_a_handle_is_looked_up_with_its_at_sign(handle: str) -> None:
    """Both spellings make one request and one identity."""
    call = YOUTUBE.channel_by_handle(handle)
    assert call.request.params["forHandle"] == "@northwind"
    found = call.parse(reply(CHANNELS))
    assert found is not None
    assert found.id == NORTHWIND


def test_an_old_user_name_is_looked_up() -> None:
    """``/user/northwind`` is neither a handle nor an id; an invalid name is rejected."""
    call = YOUTUBE.channel_by_username("northwind")
    assert (call.operation, call.request.params["forUsername"]) == ("channels", "northwind")
    found = call.parse(reply(CHANNELS))
    assert found is not None
    assert found.id == NORTHWIND
    for text in ("", "a b", "a/b", "x" * 200):
        with pytest.raises(UserError, match="not a YouTube user name"):
            YOUTUBE.channel_by_username(text)


def test_a_playlist_names_its_channel() -> None:
    """Fifty a call; a playlist that YouTube does not show is absent."""
    call = YOUTUBE.playlists(["PLnorthwind0", "PLfabrikam01", "PLdeleted0000"])
    assert call.request.params["maxResults"] == "50"
    assert call.parse(reply(PLAYLISTS)) == {
        "PLnorthwind0": Playlist("PLnorthwind0", NORTHWIND),
        "PLfabrikam01": Playlist("PLfabrikam01", HIDDEN),
    }
    nobodys = json.loads(PLAYLISTS)
    del nobodys["items"][0]["snippet"]["channelId"]
    assert call.parse(reply(nobodys))["PLnorthwind0"] is None


def test_an_empty_answer_has_no_items() -> None:
    """YouTube then omits "items": no channel, no video, no failure."""
    nothing = {"kind": "youtube#channelListResponse", "pageInfo": {"totalResults": 0}}
    assert YOUTUBE.channel_by_handle("@nobody").parse(reply(nothing)) is None
    assert YOUTUBE.channels([NORTHWIND]).parse(reply(nothing)) == {}


@pytest.mark.parametrize("handle", ["", "@", "a b", "a/b", "@a@b", "x" * 200])
def test_an_invalid_handle_is_rejected(handle: str) -> None:
    """The error is one line with the value."""
    with pytest.raises(UserError, match="not a YouTube handle"):
        YOUTUBE.channel_by_handle(handle)


def test_a_search_sends_given_parameters_and_reads_ids_of_its_kind() -> None:
    """Optional parameters are sent only when given; results of another kind are left out."""
    call = YOUTUBE.search(
        "吕梁市 三川河",
        channel_id=NORTHWIND,
        order="date",
        published_after=datetime.fromisoformat("2026-01-01T01:00:00+01:00"),
        region_code="CN",
        results_max=3,
    )
    assert call.identity == {
        "part": "snippet",
        "q": "吕梁市 三川河",
        "type": "video",
        "order": "date",
        "maxResults": "3",
        "channelId": NORTHWIND,
        "publishedAfter": "2026-01-01T00:00:00Z",
        "regionCode": "CN",
    }
    page = call.parse(reply(SEARCH))
    assert page == SearchPage(ids=("aaaaaaaaaa1", "bbbbbbbbbb2"), next_page_token="CAUQAA")
    channels = YOUTUBE.search("x", kind="channel", page_token="CAUQAA").parse(reply(SEARCH))
    assert channels.ids == (NORTHWIND,)


@pytest.mark.parametrize("results_max", [0, 51])
def test_a_page_of_a_search_is_bounded(results_max: int) -> None:
    """A page of a search has at most fifty results."""
    with pytest.raises(UserError, match="results_max"):
        YOUTUBE.search("x", results_max=results_max)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT1H2M3S", 3723),
        ("P0D", 0),
        ("PT0S", 0),
        ("PT15S", 15),
        ("PT90M", 5400),
        ("P1DT2H", 93_600),
        ("P1W", 604_800),
        ("P", None),
        ("PT", None),
        ("1:02:03", None),
        ("PT1H2M3", None),
        ("PT-5S", None),
        ("PT٣S", None),
        ("P9999W", None),
        ("", None),
        (None, None),
    ],
)
def test_a_duration_is_iso_8601(text: str | None, seconds: int | None) -> None:
    """Durations become seconds; an invalid or too long one is unknown."""
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize(
    ("now", "hours"),
    [
        ("2026-01-15T08:00:00+00:00", 24.0),
        ("2026-01-15T07:59:00+00:00", 1 / 60),
        ("2026-07-15T06:30:00+00:00", 0.5),
        # The clocks go forward on 8 March and back on 1 November 2026.
        ("2026-03-08T08:00:00+00:00", 23.0),
        ("2026-11-01T07:00:00+00:00", 25.0),
    ],
)
def test_the_quota_resets_at_midnight_in_los_angeles(now: str, hours: float) -> None:
    """Also in the nights when the clocks change."""
    assert seconds_until_quota_resets(datetime.fromisoformat(now)) == pytest.approx(hours * 3600)


@pytest.mark.parametrize("reason", ["quotaExceeded", "dailyLimitExceeded"])
def test_a_used_up_quota_waits_for_midnight_pacific(reason: str) -> None:
    """403 quotaExceeded at 04:00 in Los Angeles: twenty hours to wait, the breaker stays closed."""
    error = error_of(google_error(403, reason))
    assert (error.category, error.permanent) == (ErrorCategory.QUOTA, False)
    assert error.retry_after_seconds == 20 * 3600
    assert not error.breaker_failure


@pytest.mark.parametrize(
    ("limit", "unit", "category"),
    [
        ("defaultSearchListPerDayPerProject", "1/d/{project}", ErrorCategory.QUOTA),
        ("defaultPerMinutePerUser", "1/min/{project}/{user}", ErrorCategory.RATE_LIMIT),
    ],
)
def test_the_named_limit_decides(limit: str, unit: str, category: ErrorCategory) -> None:
    """A daily quota comes as 429 rateLimitExceeded too and waits for midnight Pacific."""
    details = [
        {"reason": "RATE_LIMIT_EXCEEDED", "metadata": {"quota_limit": limit, "quota_unit": unit}}
    ]
    document = {"errors": [{"reason": "rateLimitExceeded"}], "details": details}
    error = error_of(reply({"error": {"code": 429, **document}}, 429))
    assert (error.category, error.permanent) == (category, False)
    daily = category is ErrorCategory.QUOTA
    assert error.retry_after_seconds == (20 * 3600 if daily else None)


@pytest.mark.parametrize("period", ["day", "minute"])
def test_only_the_message_may_name_the_limit(period: str) -> None:
    """Without details the message separates a daily quota from a limit per minute."""
    error = error_of(reply({"error": {"message": f"limit 'Queries per {period}'"}}, 429))
    expected = ErrorCategory.QUOTA if period == "day" else ErrorCategory.RATE_LIMIT
    assert error.category is expected


@pytest.mark.parametrize(
    ("given", "category", "permanent"),
    [
        (google_error(403, "rateLimitExceeded"), ErrorCategory.RATE_LIMIT, False),
        (google_error(429, details=("RATE_LIMIT_EXCEEDED",)), ErrorCategory.RATE_LIMIT, False),
        (google_error(429, "quotaExceeded"), ErrorCategory.QUOTA, False),
        (reply(b"busy", 429), ErrorCategory.RATE_LIMIT, False),
        (google_error(400, "badRequest", details=("API_KEY_INVALID",)), ErrorCategory.AUTH, True),
        (google_error(403, "accessNotConfigured"), ErrorCategory.AUTH, True),
        (google_error(401), ErrorCategory.AUTH, True),
        (google_error(403, "forbidden"), ErrorCategory.ACCESS_DENIED, True),
        (google_error(400, "invalidParameter"), ErrorCategory.BAD_REQUEST, True),
        (reply(b"<html>", 404), ErrorCategory.NOT_FOUND, True),
        (google_error(500, "backendError"), ErrorCategory.SERVER, False),
        (reply(b"", 503), ErrorCategory.SERVER, False),
        (reply(b"", 302), ErrorCategory.MALFORMED, False),
    ],
)
def test_a_reason_decides_before_the_status(
    given: HttpReply, category: ErrorCategory, permanent: bool
) -> None:
    """Google's reason separates a spent quota, too many requests and a wrong key."""
    error = error_of(given)
    assert (error.category, error.permanent, error.http_status) == (
        category,
        permanent,
        given.status,
    )
    assert "yt-secret" not in str(error)


def test_a_rate_limit_obeys_retry_after() -> None:
    """The header's seconds are passed on."""
    assert error_of(reply(b"", 429, retry_after="12")).retry_after_seconds == 12.0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"kind":"youtube#videoListResponse","items":{}}',
        b'{"kind":"youtube#videoListResponse","items":[7]}',
        b'{"kind":"youtube#videoListResponse","items":[{"id":"aaaaaaaaaa1"}]}',
        b'{"items":[]}',
        VIDEOS[:-200],
    ],
)
def test_an_unreadable_list_is_malformed(body: bytes) -> None:
    """It is a failure that may be repeated, never "no such video"."""
    error = error_of(reply(body))
    assert (error.category, error.permanent) == (ErrorCategory.MALFORMED, False)


def test_an_unreadable_row_affects_only_its_video() -> None:
    """The other videos are read; the row's video is unreadable, not hidden."""
    listing = json.loads(VIDEOS)
    known = [item["id"] for item in listing["items"]]
    listing["items"].append({"id": "brokenbrok1"})
    found = YOUTUBE.videos([*known, "brokenbrok1", "absentabse1"]).parse(reply(listing))
    assert all(found[each] is not None for each in known)
    assert found["brokenbrok1"] is None
    assert "absentabse1" not in found
    # No channel has such an id; planned as an item, it would fit no key.
    listing["items"][-1] = {"id": "brokenbrok1", "snippet": {"channelId": "x" * 20_000}}
    found = YOUTUBE.videos([*known, "brokenbrok1"]).parse(reply(listing))
    assert found["brokenbrok1"] is None
    listing["items"][-1] = "no object"
    found = YOUTUBE.videos([*known, "absentabse1"]).parse(reply(listing))
    assert found["absentabse1"] is None


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("https://acme.com", ("https://acme.com",)),
        ("(see https://acme.com/a_(b).)", ("https://acme.com/a_(b",)),
        ("Visit www.acme.co.uk, acme.com!", ("www.acme.co.uk", "acme.com")),
        ("访问acme.com看看", ("acme.com",)),
        ("ACME: Acme.com/shop?x=1 now", ("Acme.com/shop?x=1",)),
        ("mail me@acme.com or a.b@acme.co.uk", ()),
        ("the end.In short, e.g. this.is not v1.2 node.js", ()),
        ("https:// http://localhost", ()),
        ("a.com a.com https://a.com", ("a.com", "https://a.com")),
        ("", ()),
    ],
)
def test_links_are_found_in_any_script(text: str, links: tuple[str, ...]) -> None:
    """Addresses in any script's prose are found as written, once each; mail addresses are not."""
    assert find_links(text) == links


def test_links_are_bounded() -> None:
    """A description full of links yields fifty."""
    assert len(find_links(" ".join(f"https://a{n}.com" for n in range(500)))) == LINKS_MAX
