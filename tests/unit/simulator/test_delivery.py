"""Injected faults as a client sees them, with their log and ledger entries."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from .conftest import Caller, Opener

SEARCH = {"q": "tickets", "search_type": "news"}


async def search(caller: Caller, **query: str) -> httpx2.Response:
    return await caller.call("GET", "/search", **{**SEARCH, **query})


@pytest.mark.parametrize("fault", ["401", "402", "429", "500", "503"])
async def test_an_injected_status_costs_nothing(opened: Opener, fault: str) -> None:
    """The status has the vendor's form, is logged with its fault, and is not billed."""
    caller = await opened(faults=[{"fault": fault, "times": 1}])
    reply = await search(caller)
    assert reply.status_code == int(fault)
    assert reply.json()["request_info"]["success"] is False
    assert (await search(caller)).status_code == 200
    entries = caller.simulator.log.of("scaleserp", "search")
    assert [(e.status, e.fault, e.credits, e.attempt) for e in entries] == [
        (int(fault), fault, 0, 1),
        (200, None, 1, 2),
    ]
    assert caller.simulator.ledger.spent("scaleserp") == 1


async def test_a_status_may_come_after_the_work(opened: Opener) -> None:
    """work=true: the call is charged but gets an error."""
    caller = await opened(faults=[{"fault": "500", "work": True}])
    assert (await search(caller)).status_code == 500
    assert caller.simulator.ledger.spent("scaleserp") == 1
    assert caller.simulator.log.of("scaleserp")[0].credits == 1


@pytest.mark.parametrize("fault", ["401", "503"])
async def test_an_error_may_repeat_the_key(opened: Opener, fault: str) -> None:
    """echo=true: the message and a header repeat the request; the form is the vendor's."""
    caller = await opened(faults=[{"fault": fault, "echo": True}])
    reply = await search(caller)
    key = caller.simulator.config.key("scaleserp")
    assert (reply.status_code, reply.json()["request_info"]["success"]) == (int(fault), False)
    assert f"api_key={key}" in reply.json()["request_info"]["message"]
    assert key in reply.headers["x-you-sent"]


@pytest.mark.parametrize("asked", [7, "Wed, 21 Oct 2100 07:28:00 GMT", "soon", -1])
async def test_retry_after_is_sent_as_given(opened: Opener, asked: Any) -> None:
    """Seconds, dates, the year 2100 and garbage are all sent: header on 429, body on 503."""
    caller = await opened(faults=[{"fault": "429", "times": 1, "retry_after": asked}])
    assert (await search(caller)).headers["retry-after"] == str(asked)
    caller.simulator.set_faults([{"fault": "503", "retry_after": asked}])
    assert (await search(caller)).json()["retry_after"] == asked


@pytest.mark.parametrize("where", ["start", "body"])
async def test_a_cut_call_was_charged_and_is_logged(opened: Opener, where: str) -> None:
    """The connection breaks before or within the reply; the log and the ledger have the call."""
    caller = await opened(faults=[{"fault": "cut", "where": where}])
    with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
        await search(caller)
    (entry,) = caller.simulator.log.of("scaleserp")
    assert (entry.status, entry.fault, entry.credits) == (0, "cut", 1)
    assert caller.simulator.ledger.spent("scaleserp") == 1


async def test_a_hung_call_never_answers(opened: Opener) -> None:
    """Only the client's timeout ends the call; it is logged while it hangs, and free."""
    caller = await opened(faults=[{"fault": "hung"}])
    with pytest.raises(httpx2.ReadTimeout):
        await caller.http.get(
            f"{caller.simulator.url}/pdl/v5/company/enrich", timeout=httpx2.Timeout(5, read=0.2)
        )
    assert caller.simulator.log.of("pdl")[0].fault == "hung"


async def test_slow_waits_its_seconds(opened: Opener) -> None:
    """A slow reply is complete, after the given seconds."""
    caller = await opened(faults=[{"fault": "slow", "seconds": 0.3}])
    reply = await search(caller)
    assert reply.json()["news_results"]
    assert reply.elapsed.total_seconds() >= 0.3


@pytest.mark.parametrize("fault", ["malformed", "truncated"])
async def test_broken_bodies_are_charged(opened: Opener, fault: str) -> None:
    """The status is 200, the body is broken, and the call is charged."""
    caller = await opened(faults=[{"fault": fault}])
    bodies = {(await search(caller, q=f"tickets {n}")).content for n in range(12)}
    assert len(bodies) > 4
    for body in bodies:
        try:
            value = json.loads(body)
        except ValueError:
            continue
        assert not (isinstance(value, dict) and "news_results" in value)
    assert caller.simulator.ledger.spent("scaleserp") == 12


async def test_slowloris_sends_byte_by_byte(opened: Opener) -> None:
    """The first bytes come at once, the rest one at a time until the client gives up."""
    caller = await opened(faults=[{"fault": "slowloris", "seconds": 3600}])
    url = f"{caller.simulator.url}/pdl/v5/company/enrich"
    async with caller.http.stream("GET", url, timeout=0.3) as reply:
        parts = reply.aiter_raw()
        assert len(await anext(parts)) == 1
        with pytest.raises(httpx2.ReadTimeout):
            await anext(parts)


async def test_endless_headers(opened: Opener) -> None:
    """The head never ends; a client with a limit gives up."""
    caller = await opened(faults=[{"fault": "endless_headers"}])
    with pytest.raises(httpx2.RemoteProtocolError):
        await search(caller)


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_of_ten_gigabytes(opened: Opener, announced: bool) -> None:
    """With or without a Content-Length, bytes come for as long as the client reads."""
    caller = await opened(faults=[{"fault": "huge_body", "announced": announced}])
    got = 0
    async with caller.http.stream("GET", f"{caller.simulator.url}/scaleserp/search") as reply:
        length = reply.headers.get("content-length")
        assert length == ("10000000000" if announced else None)
        async for part in reply.aiter_raw():
            got += len(part)
            if got > 5_000_000:
                break
    assert got > 5_000_000


async def test_a_gzip_bomb(opened: Opener) -> None:
    """A small body decompresses to a large one."""
    caller = await opened(faults=[{"fault": "gzip_bomb", "size_bytes": 20_000_000}])
    url = f"{caller.simulator.url}/scaleserp/search"
    async with caller.http.stream("GET", url) as reply:
        packed = sum([len(part) async for part in reply.aiter_raw()])
    assert packed < 100_000
    assert len((await caller.http.get(url)).content) == 20_000_000


async def test_an_expired_link_is_refused_by_the_file_store(opened: Opener) -> None:
    """The download gets a 403 once, logged as ScaleSERP's; a retry and other calls work."""
    caller = await opened(faults=[{"fault": "expired_links", "times": 1}])
    result = await caller.run(await caller.batch())
    url = result["download_links"]["pages"][0]
    assert [(await caller.download(url)).status_code for _ in range(2)] == [403, 200]
    statuses = [entry.status for entry in caller.simulator.log.of("scaleserp", "download")]
    assert statuses == [403, 200]


async def test_failed_searches_have_every_plausible_shape(opened: Opener) -> None:
    """No result, a null result, or a message: all are counted as failed, and charged."""
    rule = {"fault": "failed_searches", "match": {"q": "tickets 1*"}}
    caller = await opened(faults=[rule])
    result = await caller.run(await caller.batch(count=40))
    assert (result["searches_completed"], result["searches_failed"]) == (29, 11)
    failed = [r for r in await caller.records(result) if not r["success"]]
    assert {r["search"]["q"].startswith("tickets 1") for r in failed} == {True}
    shapes = {str(record.get("result", "absent"))[:16] for record in failed}
    assert len(shapes) == 3
    assert caller.simulator.ledger.spent("scaleserp") == 40


async def test_a_failed_search_may_pass_in_another_batch(opened: Opener) -> None:
    """attempts=1 on searches: the same search succeeds in its second run."""
    caller = await opened(faults=[{"fault": "failed_searches", "attempts": 1}])
    first = await caller.run(await caller.batch("one"))
    second = await caller.run(await caller.batch("two"))
    assert (first["searches_failed"], second["searches_failed"]) == (3, 0)


@pytest.mark.parametrize(("fault", "count"), [("missing_records", 2), ("duplicate_custom_id", 4)])
async def test_records_may_be_missing_or_duplicated(opened: Opener, fault: str, count: int) -> None:
    """One search of three has no record, or two with the same custom_id."""
    caller = await opened(faults=[{"fault": fault, "match": {"custom_id": "b-1"}}])
    records = await caller.records(await caller.run(await caller.batch()))
    assert len(records) == count
    assert sum(r["search"]["custom_id"] == "b-1" for r in records) == count - 2
    assert len({r["id"] for r in records}) == count


async def test_a_rule_can_single_out_the_news_batch(opened: Opener) -> None:
    """The fault refuses the start of one content type's batch only."""
    rule = {"operation": "start_batch", "match": {"searches_type": "news"}, "fault": "500"}
    caller = await opened(faults=[rule])
    news, web = await caller.batch("n", kind="news"), await caller.batch("w")
    assert (await caller.call("GET", f"/batches/{news}/start")).status_code == 500
    assert (await caller.run(web))["searches_failed"] == 0


async def test_plan_day_and_log_over_http(opened: Opener, tmp_path: Path) -> None:
    """Faults and the day are set over HTTP; log, ledger and file agree."""
    file = tmp_path / "calls.jsonl"
    caller = await opened(log_file=file)
    sim = f"{caller.simulator.url}/_sim"
    before = (await search(caller)).json()["news_results"]
    await caller.http.post(f"{sim}/day", json={"day": "2026-12-23"})
    after = (await search(caller)).json()["news_results"]
    assert before != after
    await caller.http.post(f"{sim}/faults", json=[{"fault": "500"}])
    assert (await search(caller)).status_code == 500
    bad = await caller.http.post(f"{sim}/faults", json=[{"fault": "boom"}])
    assert (bad.status_code, "boom" in bad.text) == (400, True)
    log = (await caller.http.get(f"{sim}/log", params={"provider": "scaleserp"})).json()
    assert [entry["status"] for entry in log] == [200, 200, 500]
    assert [json.loads(line) for line in file.read_text().splitlines()] == log
    assert (await caller.http.get(f"{sim}/ledger")).json()["totals"] == {"scaleserp": 2}
    assert caller.simulator.config.key("scaleserp") not in json.dumps(log)
