"""Batches over HTTP: life cycle, charges, files and documented rejections."""

import asyncio
import io
import zipfile
from typing import Any

import pytest

from serpline.simulator import BatchTiming

from .conftest import ManualClock, Opener

SLOW = BatchTiming(10, 10, running_seconds_per_search=0, adding_seconds_per_search=0)


async def test_a_batch_goes_through_its_states_and_back_to_idle(
    opened: Opener, clock: ManualClock
) -> None:
    """start → queued → running → idle, then one more result set and a last_run."""
    caller = await opened(clock=clock, timing=SLOW)
    batch = await caller.batch()
    seen = []
    await caller.call("GET", f"/batches/{batch}/start")
    for _ in range(3):
        shown = (await caller.call("GET", f"/batches/{batch}")).json()["batch"]
        seen.append((shown["status"], shown["results_count"], shown["next_result_set_id"]))
        await clock.advance(10)
    assert seen == [("queued", 0, 1), ("running", 0, 1), ("idle", 1, 2)]


async def test_a_run_is_charged_when_it_is_queued(opened: Opener, clock: ManualClock) -> None:
    """The start charges the credits, once."""
    caller = await opened(clock=clock, timing=SLOW)
    await caller.call("GET", f"/batches/{await caller.batch(count=7)}/start")
    assert caller.simulator.ledger.spent("scaleserp") == 7
    await clock.advance(100)
    assert caller.simulator.ledger.spent("scaleserp") == 7


@pytest.mark.parametrize(("wait_seconds", "spent"), [(0, 0), (15, 3)])
async def test_stop_refunds_only_a_queued_batch(
    opened: Opener, clock: ManualClock, wait_seconds: float, spent: int
) -> None:
    """Stopping a queued batch refunds everything; stopping a running one, nothing."""
    caller = await opened(clock=clock, timing=SLOW)
    batch = await caller.batch()
    await caller.call("GET", f"/batches/{batch}/start")
    await clock.advance(wait_seconds)
    stopped = await caller.call("GET", f"/batches/{batch}/stop")
    assert stopped.json()["batch"]["status"] == "idle"
    assert caller.simulator.ledger.spent("scaleserp") == spent
    assert (await caller.run_while(clock, batch))["id"] == 1


async def test_only_one_large_batch_runs_at_once(opened: Opener, clock: ManualClock) -> None:
    """Batches above 250 searches run one at a time, by priority."""
    caller = await opened(clock=clock, timing=SLOW)
    batches = [
        await caller.batch(name, 251, priority=priority)
        for name, priority in (("a", "normal"), ("b", "low"), ("c", "highest"))
    ]
    for batch in batches:
        await caller.call("GET", f"/batches/{batch}/start")

    def states() -> list[str]:
        return [caller.simulator.scaleserp.account.find(b).status.value for b in batches]

    seen = []
    for _ in range(4):
        await clock.advance(10)
        seen.append(states())
    assert seen == [
        ["running", "queued", "queued"],
        ["idle", "queued", "running"],
        ["idle", "running", "idle"],
        ["idle", "idle", "idle"],
    ]


async def test_searches_are_added_one_request_at_a_time(opened: Opener, clock: ManualClock) -> None:
    """A concurrent add gets a 429 and adds nothing."""
    caller = await opened(clock=clock, timing=BatchTiming(adding_seconds_per_search=1))
    batch = (await caller.call("POST", "/batches", {"name": "b"})).json()["batch"]["id"]
    body = {"searches": [{"q": "one"}]}
    first = asyncio.create_task(caller.call("PUT", f"/batches/{batch}", body))
    stored = caller.simulator.scaleserp.account.find(batch)
    while not stored.adding:
        await asyncio.sleep(0)
    assert (await caller.call("PUT", f"/batches/{batch}", body)).status_code == 429
    await clock.advance(1)
    assert (await first).status_code == 200
    assert len(stored.searches) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/batches/NONE", None, 404),
        ("GET", "/batches/{id}/start/now", None, 404),
        ("PATCH", "/batches/{id}", None, 404),
        ("POST", "/batches", {"schedule_type": "hourly"}, 400),
        ("POST", "/batches", {"schedule_type": "daily", "schedule_hours": [24]}, 400),
        ("PUT", "/batches/{id}", {"searches": [{"q": "a"}] * 1_001}, 400),
        ("PUT", "/batches/{id}", {"searches": [{"q": ""}]}, 400),
        ("PUT", "/batches/{id}", {"searches": [{"q": "a", "search_type": "news"}]}, 400),
        ("GET", "/batches/{id}/results/9", None, 404),
        ("GET", "/batches/{id}/searches/2", None, 404),
        ("GET", "/batches/{id}/stop", None, 400),
        ("GET", "/search", None, 400),
        ("POST", "/search", None, 404),
    ],
)
async def test_documented_rejections(
    opened: Opener, method: str, path: str, body: Any, status: int
) -> None:
    """Each invalid call gets its documented status, success false and a message, free of charge."""
    caller = await opened()
    batch = await caller.batch()
    reply = await caller.call(method, path.replace("{id}", batch), body)
    assert reply.status_code == status
    info = reply.json()["request_info"]
    assert info["success"] is False
    assert info["message"]
    assert caller.simulator.ledger.spent("scaleserp") == 0


async def test_nothing_changes_while_a_batch_runs(opened: Opener, clock: ManualClock) -> None:
    """Start, add and update get a 400 until the batch is idle."""
    caller = await opened(clock=clock, timing=SLOW)
    batch = await caller.batch()
    await caller.call("GET", f"/batches/{batch}/start")
    for method, path, body in (
        ("GET", f"/batches/{batch}/start", None),
        ("PUT", f"/batches/{batch}", {"searches": [{"q": "a", "search_type": "web"}]}),
        ("PUT", f"/batches/{batch}", {"name": "c"}),
        ("DELETE", f"/batches/{batch}/clear", None),
    ):
        assert (await caller.call(method, path, body)).status_code == 400
    assert caller.simulator.ledger.spent("scaleserp") == 3


async def test_a_start_without_credits_is_402(opened: Opener) -> None:
    """Two credits do not start three searches, and are not charged."""
    caller = await opened(credits={"scaleserp": 2})
    batch = await caller.batch()
    assert (await caller.call("GET", f"/batches/{batch}/start")).status_code == 402
    account = (await caller.call("GET", "/account")).json()["account_info"]
    assert (account["credits_remaining"], account["batches_used"]) == (2, 1)


async def test_fifteen_thousand_searches_and_not_one_more(opened: Opener) -> None:
    """A batch holds 15,000 searches; with two pages each, half as many."""
    caller = await opened()
    for pages, thousands in (("1", 15), ("2", 7)):
        batch = (await caller.call("POST", "/batches", {"name": "b"})).json()["batch"]["id"]
        body = {"searches": [{"q": "a", "max_page": pages}] * 1_000}
        statuses = [
            (await caller.call("PUT", f"/batches/{batch}", body)).status_code
            for _ in range(thousands + 1)
        ]
        assert statuses == [200] * thousands + [400]


async def test_batches_are_found_by_name(opened: Opener) -> None:
    """Search terms, paging and sorting work; two batches of one name have two ids."""
    caller = await opened()
    ids = [await caller.batch(name, 1) for name in ("run-1", "run-2", "run-1")]
    assert len(set(ids)) == 3
    found = await caller.call("GET", "/batches", search_term="run-1", search_type="exact")
    assert {batch["id"] for batch in found.json()["batches"]} == {ids[0], ids[2]}
    page = (await caller.call("GET", "/batches", page_size="2", page="2")).json()
    assert (page["total_count"], page["total_pages"], page["count_this_page"]) == (3, 2, 1)
    assert (await caller.call("GET", "/batches", only_with_results="true")).json()["batches"] == []
    assert (await caller.call("GET", "/batches", sort_by="luck")).status_code == 400


async def test_stored_searches_can_be_read_back_and_deleted(opened: Opener) -> None:
    """A page of searches has every custom_id; one, several and all can be deleted."""
    caller = await opened()
    batch = await caller.batch(count=5)
    page = (await caller.call("GET", f"/batches/{batch}/searches/1")).json()
    assert [s["custom_id"] for s in page["searches"]] == [f"b-{n}" for n in range(5)]
    ids = [s["id"] for s in page["searches"]]
    await caller.call("DELETE", f"/batches/{batch}/{ids[0]}")
    await caller.call("DELETE", f"/batches/{batch}/searches", ids[1:3])
    left = (await caller.call("GET", f"/batches/{batch}")).json()["batch"]
    assert left["searches_total_count"] == 2
    assert (await caller.call("DELETE", f"/batches/{batch}/{ids[0]}")).status_code == 404
    await caller.call("DELETE", f"/batches/{batch}/clear")
    await caller.call("DELETE", f"/batches/{batch}")
    assert (await caller.call("GET", f"/batches/{batch}")).status_code == 404


async def test_a_page_file_has_each_search_with_its_custom_id(opened: Opener) -> None:
    """Five searches make pages of 2, 2 and 1; custom_id is in search; results contain the key."""
    caller = await opened(results_per_page=2)
    result = await caller.run(await caller.batch(count=5))
    assert result["results_page_count"] == len(result["download_links"]["pages"]) == 3
    records = await caller.records(result)
    assert [record["search"]["custom_id"] for record in records] == [f"b-{n}" for n in range(5)]
    assert all(record["success"] and "custom_id" not in record for record in records)
    texts = [(await caller.download(url)).text for url in result["download_links"]["pages"]]
    key = f"api_key={caller.simulator.config.key('scaleserp')}"
    assert all(key in record["result"]["search_metadata"]["html_url"] for record in records)
    assert not any("api_key" in record["search"] for record in records)
    assert not any('"api_key"' in text for text in texts)


async def test_all_pages_come_in_one_zip_and_in_other_forms(opened: Opener) -> None:
    """The zip has the page files byte for byte; JSON lines and CSV exist too."""
    caller = await opened(results_per_page=2)
    batch = await caller.batch(count=3)
    links = (await caller.run(batch))["download_links"]
    packed = zipfile.ZipFile(io.BytesIO((await caller.download(links["all_pages"])).content))
    pages = [(await caller.download(url)).content for url in links["pages"]]
    assert [packed.read(name) for name in packed.namelist()] == pages
    for variant, lines in (("jsonlines", 2), ("csv", 21)):
        path = f"/batches/{batch}/results/1/{variant}"
        other = (await caller.call("GET", path)).json()["result"]["download_links"]["pages"]
        assert len((await caller.download(other[0])).text.splitlines()) == lines


async def test_result_sets_are_kept_for_14_days(opened: Opener, clock: ManualClock) -> None:
    """After 14 days the list is empty and the file gets a 403."""
    caller = await opened(clock=clock, timing=SLOW)
    batch = await caller.batch()
    result = await caller.run_while(clock, batch)
    url = result["download_links"]["pages"][0]
    assert (await caller.download(url)).status_code == 200
    await clock.advance(14 * 86_400)
    assert (await caller.download(url)).status_code == 403
    assert (await caller.call("GET", f"/batches/{batch}/results")).json()["results"] == []


async def test_two_simulators_give_the_same_files(opened: Opener) -> None:
    """Files depend on seed, day and searches, not on the process or earlier calls."""
    files = []
    for noise in (0, 3):
        caller = await opened()
        for number in range(noise):
            await caller.call("GET", "/search", q=f"noise {number}", search_type="videos")
        result = await caller.run(await caller.batch(kind="videos"))
        files.append((await caller.download(result["download_links"]["pages"][0])).content)
    assert files[0] == files[1]
