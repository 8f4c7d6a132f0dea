"""DataForSEO's wire: the requests, the parsed replies, and the error of each refusal."""

import json
from typing import Any

import pytest

from serpline.core.clock import SystemClock
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.providers.dataforseo.client import DataForSeoClient
from serpline.providers.dataforseo.errors import DataForSeoError, is_keyword_error
from serpline.providers.dataforseo.wire import match, unsupported

PASSWORD = "p4ss-of-dataforseo"
client = DataForSeoClient("https://api.dataforseo.com", "ann@me.example", PASSWORD, SystemClock())
CALL = client.search_volume(["Buy Laptop", "吕梁市 三川河"], 2840, "en")

LAPTOP = {
    "keyword": "buy laptop",
    "spell": None,
    "location_code": 2840,
    "language_code": "en",
    "competition": "HIGH",
    "competition_index": 100,
    "search_volume": 2900,
    "low_top_of_page_bid": 1.2,
    "high_top_of_page_bid": 4.6,
    "cpc": 6.74,
    "monthly_searches": [
        {"year": 2025, "month": 11, "search_volume": 2400},
        {"year": 2026, "month": 1, "search_volume": None},
        {"year": 2025, "month": 12, "search_volume": 3600},
    ],
}
UNKNOWN = {"keyword": "吕梁市 三川河", "spell": None, "search_volume": None, "cpc": None}


def document(result: Any, **task: Any) -> dict[str, Any]:
    fields = {"id": "t", "status_code": 20000, "status_message": "Ok.", "cost": 0.09} | task
    return {
        "version": "0.1",
        "status_code": 20000,
        "status_message": "Ok.",
        "cost": 0.09,
        "tasks_count": 1,
        "tasks_error": 0,
        "tasks": [{**fields, "result": result}],
    }


def reply(body: Any, status: int = 200, **headers: str) -> HttpReply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status, {k.replace("_", "-"): v for k, v in headers.items()}, raw)


def refusal(answer: HttpReply) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        CALL.parse(answer)
    assert PASSWORD not in str(caught.value)
    assert caught.value.provider == "dataforseo"
    return caught.value


def test_request() -> None:
    """One task, HTTP Basic, one credit; the identity and the client's name hold no password."""
    assert CALL.request.method == "POST"
    assert CALL.request.url == (
        "https://api.dataforseo.com/v3/keywords_data/google_ads/search_volume/live"
    )
    assert CALL.request.json == [
        {"keywords": ["Buy Laptop", "吕梁市 三川河"], "location_code": 2840, "language_code": "en"}
    ]
    assert CALL.request.basic_auth == ("ann@me.example", PASSWORD)
    assert PASSWORD in CALL.request.secrets
    assert CALL.credits == 1.0
    assert PASSWORD not in json.dumps(CALL.identity) + repr(client)
    other = client.search_volume(["Buy Laptop", "吕梁市 三川河"], 2250, "fr")
    assert other.identity != CALL.identity


def test_a_market_without_a_language_has_none_in_its_request() -> None:
    """DataForSEO does not know Albanian: the request asks for the volumes of all languages."""
    call = client.search_volume(["kafe"], 2008, None)
    assert call.request.json == [{"keywords": ["kafe"], "location_code": 2008}]
    row = LAPTOP | {"keyword": "kafe", "location_code": 2008, "language_code": None}
    assert call.parse(reply(document([row]))).metrics[0].search_volume == 2900
    assert call.identity != client.search_volume(["kafe"], 2008, "en").identity


def test_reply() -> None:
    """Figures are read as given; an unknown volume is None, never 0."""
    found = CALL.parse(reply(document([LAPTOP, UNKNOWN])))
    laptop, unknown = found.metrics
    assert (laptop.search_volume, laptop.cpc, laptop.competition) == (2900, 6.74, "HIGH")
    assert (laptop.competition_index, laptop.low_top_of_page_bid) == (100, 1.2)
    assert laptop.high_top_of_page_bid == 4.6
    months = [(m.year, m.month, m.search_volume) for m in laptop.monthly]
    assert months == [(2026, 1, None), (2025, 12, 3600), (2025, 11, 2400)]
    assert (unknown.search_volume, unknown.cpc, unknown.monthly) == (None, None, ())
    assert found.cost_usd == 0.09
    assert not found.lost_all_figures


def test_zero_is_kept() -> None:
    """A stated volume of 0 is 0."""
    found = CALL.parse(reply(document([LAPTOP | {"search_volume": 0}])))
    assert found.metrics[0].search_volume == 0


@pytest.mark.parametrize("value", ["many", -1, 1.5, True, [], {}, 2**70])
def test_unreadable_volume_is_unknown(value: Any) -> None:
    """A volume that is not a count is unknown; the rest of the row stays."""
    row = CALL.parse(reply(document([LAPTOP | {"search_volume": value}]))).metrics[0]
    assert (row.search_volume, row.cpc) == (None, 6.74)


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        [{"keyword": "buy laptop", "search_volume": None}, {"keyword": "rolex replica"}],
    ],
)
def test_emptied_batch(result: Any) -> None:
    """A batch emptied by one restricted keyword differs from a batch with figures."""
    assert CALL.parse(reply(document(result))).lost_all_figures
    single = client.search_volume(["rolex replica"], 2840, "en")
    assert not single.parse(reply(document(result))).lost_all_figures


def test_no_results_is_an_answer() -> None:
    """ "No results" is an answer without rows."""
    assert CALL.parse(reply(document(None, status_code=40102))).metrics == ()


@pytest.mark.parametrize(
    ("code", "category", "permanent"),
    [
        (40100, ErrorCategory.AUTH, True),
        (40101, ErrorCategory.SERVER, False),
        (40200, ErrorCategory.QUOTA, True),
        (40202, ErrorCategory.RATE_LIMIT, False),
        (40209, ErrorCategory.RATE_LIMIT, False),
        (40210, ErrorCategory.QUOTA, True),
        (40400, ErrorCategory.BAD_REQUEST, True),
        (40501, ErrorCategory.BAD_REQUEST, True),
        (50000, ErrorCategory.SERVER, False),
        (50401, ErrorCategory.TIMEOUT, False),
        (60000, ErrorCategory.SERVER, False),
    ],
)
def test_codes_at_both_levels(code: int, category: ErrorCategory, permanent: bool) -> None:
    """A failure code counts in the envelope and in the task, under HTTP 200."""
    words = f"bad {PASSWORD}"
    in_task = document([LAPTOP], status_code=code, status_message=words)
    in_envelope = document([LAPTOP]) | {"status_code": code, "status_message": words}
    for body in (in_task, in_envelope):
        error = refusal(reply(body))
        assert (error.category, error.permanent) == (category, permanent)
        assert isinstance(error, DataForSeoError)
        assert error.code == code
        assert str(error) == f"dataforseo status {code}: bad [secret]"


@pytest.mark.parametrize(
    ("status", "category"),
    [
        (401, ErrorCategory.AUTH),
        (402, ErrorCategory.QUOTA),
        (404, ErrorCategory.BAD_REQUEST),
        (429, ErrorCategory.RATE_LIMIT),
        (500, ErrorCategory.SERVER),
        (502, ErrorCategory.SERVER),
        (504, ErrorCategory.TIMEOUT),
    ],
)
def test_http_status(status: int, category: ErrorCategory) -> None:
    """A status outside 2xx is a failure whatever its body claims."""
    for body in (b"<html>", document([LAPTOP])):
        error = refusal(reply(body, status, retry_after="9"))
        assert (error.category, error.http_status) == (category, status)
        assert error.retry_after_seconds == 9


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        {"status_code": 20000},
        {"status_code": 20000, "tasks": []},
        {"status_code": 20000, "tasks": [{"status_code": None, "result": []}]},
        document([LAPTOP]) | {"tasks": document([])["tasks"] * 2},
    ],
)
def test_malformed(body: Any) -> None:
    """A reply without a code, or without exactly one task, is malformed."""
    assert refusal(reply(body)).category is ErrorCategory.MALFORMED


def test_billing() -> None:
    """A successful task is one request, a failed one none."""
    billed = CALL.billed
    assert billed is not None
    assert billed(reply(document([]))) == 1
    assert billed(reply(document(None, status_code=40202))) == 0
    assert billed(reply(b"", 500)) == 0


def test_match() -> None:
    """Requested keywords match rows by folded keyword, then by spelling; the rest is None."""
    rows = CALL.parse(
        reply(
            document(
                [
                    LAPTOP,
                    {"keyword": "cafe\u0301 paris", "search_volume": 10},
                    {"keyword": "restaurnt", "spell": "restaurant", "search_volume": 5},
                ]
            )
        )
    ).metrics
    asked = ["Buy  Laptop", "BUY LAPTOP", "Caf\u00e9 Paris", "restaurant", "restaurnt", "nobody"]
    found = match(asked, rows)
    volumes = [row.search_volume if row else None for row in found.values()]
    assert list(found) == asked
    assert volumes == [2900, 2900, 10, 5, 5, None]


@pytest.mark.parametrize(
    ("keyword", "reason"),
    [
        ("laptop", None),
        ("x" * 80, None),
        ("x" * 81, "81 characters"),
        (" ".join("abcdefghij"), None),
        (" ".join("abcdefghijk"), "11 words"),
        ("  x  " + " " * 100, None),
        (" \t", "empty"),
        *((f"a {c} b", "Google Ads takes no") for c in ",!@%^*(){}=;~`<>?\\|\u2015²™\U0001f600"),
        *((f"a{c}b", None) for c in "#$&_-\"[]'+./:£€éß中ひไ\u200c"),
    ],
)
def test_unsupported(keyword: str, reason: str | None) -> None:
    """A keyword over 80 characters or 10 words is rejected before it fails its batch."""
    found = unsupported(keyword)
    assert (found is None) == (reason is None)
    assert (reason or "") in (found or "")
    if reason:
        with pytest.raises(ValueError, match=reason):
            client.search_volume(["fine", keyword], 2840, "en")


def test_keywords_per_call() -> None:
    """A call holds 1 to 1,000 keywords."""
    assert len(client.search_volume(["x"] * 1_000, 2840, "en").request.json[0]["keywords"]) == 1_000
    for count in (0, 1_001):
        with pytest.raises(ValueError, match="1 to 1000"):
            client.search_volume(["x"] * count, 2840, "en")


def test_keyword_error() -> None:
    """One keyword may cause an invalid field; it causes no other failure."""
    assert is_keyword_error(refusal(reply(document(None, status_code=40501))))
    assert not is_keyword_error(refusal(reply(document(None, status_code=40202))))
    assert not is_keyword_error(refusal(reply(b"")))
