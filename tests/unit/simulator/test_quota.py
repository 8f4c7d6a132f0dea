"""Quotas of YouTube and Google Ads, on a manual clock."""

from .conftest import ManualClock, Opener


async def test_a_spent_quota_comes_back_at_midnight_in_los_angeles(
    opened: Opener, clock: ManualClock
) -> None:
    """12:00 UTC is 04:00 there: spent for 19 h 59 min more, full a minute later."""
    caller = await opened(clock=clock, credits={"youtube/search": 1})
    query = {"key": caller.simulator.config.key("youtube"), "part": "snippet", "q": "rome"}
    seen = []
    for wait_minutes in (0, 0, 19 * 60 + 59, 1):
        await clock.advance(wait_minutes * 60)
        reply = await caller.http.get(f"{caller.simulator.url}/youtube/v3/search", params=query)
        reasons = [each["reason"] for each in reply.json().get("error", {}).get("errors", [])]
        seen.append((reply.status_code, *reasons))
    assert seen == [(200,), (403, "quotaExceeded"), (403, "quotaExceeded"), (200,)]


async def test_an_invalid_request_costs_a_unit(opened: Opener) -> None:
    """51 ids, no part and an unknown part get a 400 and cost one unit each, of one quota."""
    caller = await opened()
    for query in (
        {"part": "snippet", "id": ",".join(f"abcdefgh{n:03d}" for n in range(51))},
        {"id": "abcdefghijk"},
        {"part": "everything", "id": "abcdefghijk"},
    ):
        key = {"key": caller.simulator.config.key("youtube")}
        url = f"{caller.simulator.url}/youtube/v3/videos"
        assert (await caller.http.get(url, params={**key, **query})).status_code == 400
    assert caller.simulator.ledger.spent("youtube") == 3


async def test_google_ads_merges_close_variants(opened: Opener) -> None:
    """Singular and plural share a row, numbers are strings, and the limit is a call a second."""
    caller = await opened()
    words = [f"flight to {n}" for n in range(40)] + [f"flight to {n}s" for n in range(40)]
    url = f"{caller.simulator.url}/googleads/v26/customers/1:generateKeywordHistoricalMetrics"
    body = {"keywords": words, "geoTargetConstants": ["geoTargetConstants/2840"]}
    head = {"authorization": f"Bearer {caller.simulator.config.key('googleads')}"}
    rows = (await caller.http.post(url, json=body, headers=head)).json()["results"]
    assert 25 < len(rows) < 40
    assert all(row["closeVariants"] == [row["text"] + "s"] for row in rows)
    assert all(row["keywordMetrics"]["avgMonthlySearches"].isdecimal() for row in rows)
    again = await caller.http.post(url, json=body, headers=head)
    assert (again.status_code, again.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
