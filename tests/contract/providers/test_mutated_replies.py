"""Replies that no vendor documents: mutated bodies of every call of three providers.

The contract of ``ProviderCall``: ``parse`` gives a value or a ``ProviderError``, nothing else;
``billed`` gives a number ≥ 0 and never fails; no key comes out in a message.
"""

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serpline.core.clock import SystemClock
from serpline.domain.errors import ProviderError
from serpline.domain.http import HttpReply, ProviderCall
from serpline.domain.names import ContentType
from serpline.providers.dataforseo.client import DataForSeoClient
from serpline.providers.dataforseo.wire import SearchVolumes, match
from serpline.providers.llm.client import LlmClient
from serpline.providers.llm.wire import Analysis
from serpline.providers.scaleserp.batches import ResultSet
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.providers.scaleserp.records import by_custom_id
from serpline.providers.scaleserp.spec import BatchSearch, SearchSpec, redacted_raw
from serpline.providers.scaleserp.webhook import notice

KEY = "k3y-nobody-may-see"
CLOCK = SystemClock()
scaleserp = ScaleSerpClient("https://api.scaleserp.com", KEY, CLOCK)
dataforseo = DataForSeoClient("https://api.dataforseo.com", "me", KEY, CLOCK)
llm = LlmClient("https://api.openai.com", KEY, "m", CLOCK)

CAPTURED = json.loads(
    (Path(__file__).parents[2] / "data" / "scaleserp_search_web_2025.json").read_bytes()
)
INFO = {"success": True, "credits_used_this_request": 1, "message": KEY}
BATCH = {
    "id": "B1", "name": "n", "status": "idle", "searches_total_count": 2, "results_count": 1,
    "next_result_set_id": 2, "credits_required": 2, "created_at": "2026-01-01T00:00:00.000Z",
}  # fmt: skip
LINKS = ["https://f.example/Batch_Results_B1_4_Page_2.json", "https://f.example/x_Page_1.json"]
SET = {
    "id": 4, "started_at": "a", "results_page_count": 2, "searches_total": 2,
    "download_links": {"pages": LINKS, "all_pages": "https://f.example/z.zip"},
}  # fmt: skip
NEWS = {"position": 1, "link": "https://n.example/a", "date_utc": "2026-03-01", "source": "N"}
PAGE = {
    "request_info": INFO,
    "search_parameters": {"q": "x", "page": "2"},
    "search_information": {"total_results": 5, "original_query_yields_zero_results": False},
    "organic_results": [{"position": 1, "link": "https://a.example/", "page": 2}, NEWS],
    "news_results": [NEWS],
    "video_results": [NEWS | {"length": "1:00"}],
    "pagination": {"other_pages": {"3": "https://g.example/3"}},
}
RECORDS = [
    {"id": "1", "success": True, "result": PAGE, "search": {"q": "x", "custom_id": "a"}},
    {"id": "2", "success": False, "result": {"request_info": {"success": False, "message": KEY}}},
]
METRICS = {
    "status_code": 20000,
    "cost": 0.09,
    "tasks": [
        {
            "status_code": 20000,
            "status_message": KEY,
            "cost": 0.09,
            "result": [
                {
                    "keyword": "buy laptop", "spell": "buy laptops", "search_volume": 10,
                    "cpc": 1.5, "competition_index": 5,
                    "monthly_searches": [{"year": 2026, "month": 1}],
                }
            ],
        }
    ],
}  # fmt: skip
ANALYSIS = {
    "relevance": 0.5, "sentiment": "mixed", "topics": ["a"], "brands": [], "summary": "s",
    "content_kind": "other",
}  # fmt: skip
MESSAGE = {"role": "assistant", "content": json.dumps(ANALYSIS), "refusal": None}
COMPLETION: dict[str, Any] = {
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": MESSAGE}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    "error": None,
}
FOUND = scaleserp.result_set("B1", 4).parse(
    HttpReply(200, {}, json.dumps({"result": SET}).encode())
)
assert isinstance(FOUND, ResultSet)

CASES: dict[str, tuple[ProviderCall[Any], Any]] = {
    "search": (scaleserp.search(SearchSpec("x")), PAGE),
    "captured": (scaleserp.search(SearchSpec("x")), CAPTURED),
    "video": (scaleserp.search(SearchSpec("x", ContentType.VIDEO)), PAGE),
    "create": (scaleserp.create_batch("n", "web"), {"request_info": INFO, "batch": BATCH}),
    "find": (scaleserp.find_batch_by_name("n"), {"request_info": INFO, "batches": [BATCH, BATCH]}),
    "add": (
        scaleserp.add_searches("B1", [BatchSearch("a", SearchSpec("x"))]),
        {"request_info": INFO, "batch": BATCH},
    ),
    "searches": (
        scaleserp.searches_page("B1", 1),
        {"searches_page_current": 1, "searches": [{"id": "1", "custom_id": "a"}]},
    ),
    "start": (scaleserp.start("B1", credits_required=2), {"request_info": INFO}),
    "results": (scaleserp.results("B1"), {"batch_id": "B1", "results": [SET, SET]}),
    "result_set": (scaleserp.result_set("B1", 4), {"batch_id": "B1", "result": SET}),
    "page_file": (scaleserp.page_file(FOUND, 1), RECORDS),
    "account": (scaleserp.account(), {"account_info": {"credits_remaining": 5}}),
    "search_volume": (dataforseo.search_volume(["Buy Laptop", "x"], 2840, "en"), METRICS),
    "analyse": (llm.analyse_page("u", "t", "x", ["k"], "en"), COMPLETION),
}

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=8)
    | st.sampled_from(["1", "-1", "1e999", "\x00", "\ud800", "https://[", "http://a:b", "²", KEY])
)
junk = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
statuses = st.sampled_from([200, 200, 200, 200, 204, 302, 400, 401, 402, 404, 429, 500, 503])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a document."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def mutate(data: st.DataObject, document: Any) -> bytes:
    """The document with one to three values replaced, removed or repeated; or its bytes cut."""
    changed = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(0, 3))):
        path = data.draw(st.sampled_from(places(changed)))
        if not path:
            changed = data.draw(junk)
            continue
        holder = changed
        for step in path[:-1]:
            holder = holder[step]
        action = data.draw(st.sampled_from(["replace", "replace", "remove", "repeat"]))
        if action == "replace":
            holder[path[-1]] = data.draw(junk)
        elif action == "remove":
            del holder[path[-1]]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[path[-1]]))
    raw = json.dumps(changed).encode()
    if data.draw(st.integers(0, 9)) == 0:
        cut = data.draw(st.integers(0, len(raw)))
        raw = raw[:cut] + data.draw(st.binary(max_size=4))
    return raw


@pytest.mark.parametrize("name", CASES)
def test_documents_are_good(name: str) -> None:
    """Unmutated, every document is an answer, so that the mutations start from something."""
    call, document = CASES[name]
    call.parse(HttpReply(200, {}, json.dumps(document).encode()))


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_reply_is_a_value_or_a_provider_error(name: str, data: st.DataObject) -> None:
    """Whatever comes back, parsing gives a storable value or a keyless ``ProviderError``."""
    call, document = CASES[name]
    check(call, HttpReply(data.draw(statuses), {}, mutate(data, document)))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_content_is_an_analysis_or_a_provider_error(data: st.DataObject) -> None:
    """Whatever a model writes into its answer, an analysis is whole and in range, or refused."""
    body = copy.deepcopy(COMPLETION)
    body["choices"][0]["message"]["content"] = mutate(data, ANALYSIS).decode("utf-8", "replace")
    check(CASES["analyse"][0], HttpReply(200, {}, json.dumps(body).encode()))


def check(call: ProviderCall[Any], reply: HttpReply) -> None:
    """Parse and bill one reply; anything but a value or a ``ProviderError`` escapes."""
    value, message = None, ""
    try:
        value = call.parse(reply)
    except ProviderError as error:
        message = str(error)
    assert KEY not in message
    # A stored value must survive the database's encoding, so no NUL and no half pair.
    text = repr(value)
    assert "\\x00" not in text
    assert "\\ud800" not in text
    follow_up(value)
    if call.billed is not None:
        cost = call.billed(reply)
        assert math.isfinite(cost)
        assert cost >= 0


def follow_up(value: Any) -> None:
    """What a phase does next with the value."""
    if isinstance(value, SearchVolumes):
        assert set(match(["Buy Laptop", "x"], value.metrics)) == {"Buy Laptop", "x"}
        assert all(row.search_volume is None or row.search_volume >= 0 for row in value.metrics)
    if isinstance(value, ResultSet) and value.page_links:
        scaleserp.page_file(value, 1)
    if isinstance(value, Analysis):
        assert 0 <= value.relevance <= 1
        assert value.summary
    if isinstance(value, tuple):
        chosen = by_custom_id(r for r in value if hasattr(r, "custom_id"))
        assert all(KEY not in (record.error or "") for record in chosen.values())


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_webhook_is_a_notice_or_nothing(data: st.DataObject) -> None:
    """A forged webhook body gives a plain notice or nothing, and no error."""
    document = {"batch": {"id": "B1"}, "result_set": {"id": 4, "download_links": {}}}
    hint = notice(mutate(data, document))
    assert hint is None or (hint.batch_id.isascii() and hint.result_set_id >= 0)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(raw=st.binary(max_size=200), tail=st.binary(max_size=20))
def test_the_stored_reply_never_has_the_key(raw: bytes, tail: bytes) -> None:
    """Whatever surrounds it, and in broken bodies too, the key is gone from what is stored."""
    assert KEY.encode() not in redacted_raw(raw + KEY.encode() + tail, (KEY,))
