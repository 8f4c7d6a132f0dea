"""ScaleSERP's batches: created, filled, started, read, and the meaning of each refusal."""

import json
from typing import Any

import pytest

from serpline.core.clock import SystemClock
from serpline.core.spool import Spool
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.domain.names import Device
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.providers.scaleserp.errors import is_gone
from serpline.providers.scaleserp.records import by_custom_id
from serpline.providers.scaleserp.spec import BatchSearch, SearchSpec
from serpline.providers.scaleserp.webhook import parse_notice

KEY = "K3Y-of-scale+serp/42"
PIZZA = SearchSpec("domino’s pizza", device=Device.MOBILE)
client = ScaleSerpClient("https://api.scaleserp.com/", KEY, SystemClock())


def reply(body: Any, status: int = 200) -> HttpReply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status, {}, raw)


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


def batch(**fields: Any) -> dict[str, Any]:
    return {
        "id": "9E867FAA",
        "created_at": "2026-02-01T00:00:00.000Z",
        "name": "serpline-1",
        "schedule_type": "manual",
        "enabled": True,
        "status": "idle",
        "priority": "normal",
        "searches_total_count": 2,
        "searches_page_count": 1,
        "credits_required": 2,
        "next_result_set_id": 1,
        "results_count": 0,
        "searches_type": "web",
        "searches_type_locked": True,
    } | fields


def test_create_batch() -> None:
    """A created batch is manual, so it never runs or costs by itself; its webhook is a secret."""
    hook = "https://me.example/hooks/0123456789abcdef"
    call = client.create_batch("serpline-1", "news", notification_webhook=hook, priority="high")
    assert (call.request.method, call.request.url) == ("POST", "https://api.scaleserp.com/batches")
    assert call.request.params == {"api_key": KEY}
    assert call.request.json == {
        "name": "serpline-1",
        "enabled": True,
        "schedule_type": "manual",
        "priority": "high",
        "searches_type": "news",
        "notification_as_json": True,
        "notification_webhook": hook,
    }
    assert call.request.secrets == (KEY, hook)
    made = call.parse(reply({"request_info": {"success": True}, "batch": batch()}))
    assert (made.id, made.is_idle, made.next_result_set_id) == ("9E867FAA", True, 1)
    assert refusal(call, reply(ok(batch={"name": "x"}))).category is ErrorCategory.MALFORMED
    with pytest.raises(ValueError, match="urgent"):
        client.create_batch("n", "web", priority="urgent")


def test_find_batch() -> None:
    """The lookup matches only the exact name, and of several always the oldest."""
    call = client.find_batch_by_name("serpline-1")
    assert call.request.params == {
        "search_term": "serpline-1",
        "search_type": "exact",
        "page_size": "1000",
        "api_key": KEY,
    }
    older = batch(id="OLD", created_at="2026-01-01T00:00:00.000Z")
    listed = [batch(id="X", name="serpline-10", created_at="2025-01-01"), batch(), older]
    found = call.parse(reply(ok(total_count=3, batches=listed)))
    assert found is not None
    assert found.id == "OLD"
    assert call.parse(reply(ok(batches=[]))) is None


def test_missing_list_is_not_none() -> None:
    """A lookup reply without its list is an error: as "none" it would create a second batch."""
    call = client.find_batch_by_name("serpline-1")
    assert refusal(call, reply(ok())).category is ErrorCategory.MALFORMED


def test_add_searches() -> None:
    """Searches are added with their ``custom_id``; none, or more than 1,000, are rejected."""
    searches = [BatchSearch("k1:fr", PIZZA), BatchSearch("k2:fr", SearchSpec("Wisła rzeka"))]
    call = client.add_searches("B/1", searches)
    assert (call.request.method, call.request.url) == (
        "PUT",
        "https://api.scaleserp.com/batches/B%2F1",
    )
    assert call.request.json == {
        "searches": [
            {
                "q": "domino’s pizza",
                "device": "mobile",
                "skip_on_incident": "all",
                "custom_id": "k1:fr",
            },
            {
                "q": "Wisła rzeka",
                "device": "desktop",
                "skip_on_incident": "all",
                "custom_id": "k2:fr",
            },
        ]
    }
    assert call.identity != client.add_searches("B/1", searches[:1]).identity
    for count in (0, 1_001):
        with pytest.raises(ValueError, match="in one add"):
            client.add_searches("B1", searches[:1] * count)


def test_searches_page() -> None:
    """A batch's searches return with their ``custom_id``."""
    body = {
        "batch_id": "B1",
        "searches_page_current": 1,
        "searches_page_count": 2,
        "searches": [{"id": "s1", "q": "a", "custom_id": "k1"}, {"id": "s2", "q": "b"}],
    }
    page = client.searches_page("B1", 1).parse(reply(body))
    assert [(s.id, s.custom_id) for s in page.searches] == [("s1", "k1"), ("s2", None)]
    assert (page.page, page.page_count) == (1, 2)


def test_paths() -> None:
    """Every other batch call uses its documented path and verb."""
    base = "https://api.scaleserp.com"
    calls: dict[str, Any] = {
        f"GET {base}/batches/B1": client.get_batch("B1"),
        f"GET {base}/batches/B1/searches/2": client.searches_page("B1", 2),
        f"GET {base}/batches/B1/start": client.start("B1", credits_required=40),
        f"GET {base}/batches/B1/stop": client.stop("B1"),
        f"DELETE {base}/batches/B1": client.delete_batch("B1"),
        f"GET {base}/batches/B1/results": client.results("B1"),
        f"GET {base}/batches/B1/results/4": client.result_set("B1", 4),
        f"GET {base}/account": client.account(),
    }
    for expected, call in calls.items():
        assert f"{call.request.method} {call.request.url}" == expected
        assert call.request.params == {"api_key": KEY}
    assert calls[f"GET {base}/batches/B1/start"].credits == 40


def test_start_stop_delete() -> None:
    """Stop and delete succeed with any 2xx, even an empty one; a gone batch is recognised."""
    for call in (client.start("B1"), client.stop("B1"), client.delete_batch("B1")):
        call.parse(reply({"request_info": {"success": True}}))
        gone = refusal(call, reply({"request_info": {"success": False, "message": "?"}}, 404))
        assert is_gone(gone)
        assert refusal(call, reply({"request_info": {"success": False}})).permanent is False
    client.stop("B1").parse(reply(b"", 204))
    client.delete_batch("B1").parse(reply(b"", 204))


@pytest.mark.parametrize("body", [b"", {}, {"request_info": {}}, {"request_info": {"success": 1}}])
def test_a_start_must_confirm_success(body: Any) -> None:
    """A batch wrongly taken as started would be polled in vain."""
    error = refusal(client.start("B1"), reply(body))
    assert (error.category, error.permanent) == (ErrorCategory.MALFORMED, False)


def result_set(**fields: Any) -> dict[str, Any]:
    pages = [f"https://files.example/Batch_Results_B1_4_Page_{n}.json" for n in (10, 2, 1)]
    return {
        "id": 4,
        "started_at": "2026-03-01T10:00:00.000Z",
        "ended_at": "2026-03-01T11:00:00.000Z",
        "expires_at": "2026-03-15T11:00:00.000Z",
        "results_page_count": 3,
        "searches_completed": 2,
        "searches_failed": 1,
        "searches_total": 3,
        "download_links": {"pages": pages, "all_pages": "https://files.example/all.zip"},
    } | fields


def test_result_set() -> None:
    """A result set lists its page files in page order; either documented nesting is read."""
    call = client.result_set("B1", 4)
    found = call.parse(reply({"batch_id": "B1", "result": result_set()}))
    assert [link[-7:] for link in found.page_links] == ["_1.json", "_2.json", "10.json"]
    assert (found.searches_total, found.page_count) == (3, 3)
    links = {"json": {"pages": ["https://files.example/a", "javascript:alert(1)"]}}
    nested = call.parse(reply({"result": result_set(download_links=links)}))
    assert nested.page_links == ("https://files.example/a",)
    other = reply({"result": result_set(id=5)})
    assert refusal(call, other).category is ErrorCategory.MALFORMED


def test_results() -> None:
    """Result sets are listed newest first."""
    body = {"batch_id": "B1", "results_count": 2, "results": [result_set(id=1), result_set(id=2)]}
    assert [one.id for one in client.results("B1").parse(reply(body))] == [2, 1]


def page_call() -> Any:
    found = client.result_set("B1", 4).parse(reply({"result": result_set()}))
    return client.page_file(found, 1)


def test_page_file_sends_no_key() -> None:
    """A page file is on another host, which receives no key."""
    call = page_call()
    assert call.request.url == "https://files.example/Batch_Results_B1_4_Page_1.json"
    assert KEY not in str((call.request.url, call.request.params, call.request.headers))
    assert call.identity == {"batch": "B1", "result_set": 4, "page": 1}
    found = client.result_set("B1", 4).parse(reply({"result": result_set()}))
    with pytest.raises(ValueError, match="page 4"):
        client.page_file(found, 4)


def record(custom_id: str | None, **fields: Any) -> dict[str, Any]:
    search = {"q": "x", "id": "s"} | ({"custom_id": custom_id} if custom_id else {})
    good = ok(organic_results=[{"position": 1, "link": "https://a.example/"}])
    return {"id": "s", "success": True, "result": good, "search": search} | fields


def test_page_file() -> None:
    """Every record of a page file is read: results, and failures in each shape."""
    explained = {"request_info": {"success": False, "message": f"blocked {KEY}"}}
    missing = record("missing", success=False)
    del missing["result"]
    values = [
        record("good"),
        missing,
        record("null", success=False, result=None),
        record("told", success=False, result=explained),
        record("contrary", success=True, result=explained),
        record("hollow", success=True, result={}),
        record("silent", success=True, result=ok()),
        record(None),
        "nonsense",
    ]
    found = page_call().parse(reply(values))
    assert [r.custom_id for r in found] == [
        "good", "missing", "null", "told", "contrary", "hollow", "silent", None, None,
    ]  # fmt: skip
    assert [r.success for r in found] == [True, *[False] * 6, True, False]
    assert [r.error for r in found] == [
        None,
        "the search failed",
        "the search failed",
        "blocked [secret]",
        "blocked [secret]",
        "the record has no result",
        "the result has no answer about organic results",
        None,
        "the record has no result",
    ]
    assert all((r.page is not None) is r.success for r in found)


def test_duplicates() -> None:
    """Of several records with one ``custom_id`` the first success wins, in any order."""
    bad, good = record("a", success=False, result=None), record("a")
    other = record("a", result=ok(organic_results=[{"link": "https://b.example/"}]))
    for values in ([bad, good, other], [good, bad, other]):
        chosen = by_custom_id(page_call().parse(reply(values)))
        assert chosen.keys() == {"a"}
        assert chosen["a"].page is not None
        assert chosen["a"].page.organic[0].domain == "a.example"


def test_expired_link() -> None:
    """A gone page file does not mean a wrong key: fetch the result set again."""
    for status in (403, 404, 410):
        error = refusal(page_call(), reply(b"<Error>AccessDenied</Error>", status))
        assert is_gone(error)
        assert error.category is not ErrorCategory.AUTH
    assert refusal(page_call(), reply(b"{}")).category is ErrorCategory.MALFORMED
    assert not is_gone(refusal(client.account(), reply({}, 403)))


def spooled(body: bytes, status: int = 200) -> HttpReply:
    spool = Spool()
    spool.write(body)
    return HttpReply(status, {}, b"", large=spool)


def test_a_large_failure_means_what_a_small_one_does() -> None:
    """An error is read wherever its body is."""
    info = {"success": False, "message": "batch expired"}
    body = {"request_info": info, "retry_after": 99, "filler": "x" * 300_000}
    for status in (200, 500):
        error = refusal(page_call(), spooled(json.dumps(body).encode(), status))
        assert (error.category, error.retry_after_seconds) == (ErrorCategory.SERVER, 99)
        assert "batch expired" in str(error)


def test_a_page_file_without_end_is_refused() -> None:
    """No file has more records than a batch has searches; reading stops there."""
    error = refusal(page_call(), spooled(b"[" + b"0," * 10_000_000 + b"0]"))
    assert error.category is ErrorCategory.MALFORMED
    assert "more than 15000 records" in str(error)


def test_notice() -> None:
    """A webhook gives batch and result set for deduplication, and nothing else."""
    body = {
        "request_info": {"success": True, "type": "batch_resultset_completed"},
        "batch": {"id": "9E867FAA", "name": "x"},
        "result_set": {"id": 4, "download_links": {"json": {"pages": ["http://169.254.0.1/"]}}},
    }
    hint = parse_notice(json.dumps(body).encode())
    assert hint is not None
    assert (hint.batch_id, hint.result_set_id) == ("9E867FAA", 4)
    assert "169" not in repr(hint)
    for payload in (b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"batch":{"id":"../x"}}'):
        assert parse_notice(payload) is None
    assert parse_notice(json.dumps(body | {"batch": {"id": "../start"}}).encode()) is None


def test_account() -> None:
    """The account states the credits left."""
    info = {"credits_used": 5, "credits_remaining": 95, "batches_used": 1, "batches_limit": 10000}
    account = client.account().parse(reply(ok(account_info=info)))
    assert (account.credits_remaining, account.batches_limit) == (95, 10_000)
    assert account.credits_limit is None
