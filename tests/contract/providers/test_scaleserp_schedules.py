"""ScaleSERP's scheduled batches and their calendars: created disabled, listed, changed."""

import json
from typing import Any

import httpx2
import pytest

from serpline.core.clock import SystemClock
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply, HttpRequest, ProviderCall
from serpline.providers.scaleserp.calendar import Calendar, ScheduleType, calendar
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.providers.scaleserp.spec import BatchSearch, SearchSpec
from serpline.simulator import Simulator, SimulatorConfig

KEY = "K3Y-of-scale+serp/42"
HOOK = "https://me.example/hooks/0123456789abcdef"
WEEKLY = Calendar(ScheduleType.WEEKLY, 8, (1, 4))
client = ScaleSerpClient("https://api.scaleserp.com/", KEY, SystemClock())


@pytest.mark.parametrize(
    ("made", "lists"),
    [
        (Calendar(ScheduleType.DAILY, 0), ([0], [], [])),
        (WEEKLY, ([8], [1, 4], [])),
        (Calendar(ScheduleType.MONTHLY, 23, (1, 15)), ([23], [], [1, 15])),
    ],
)
def test_a_calendar_is_written_as_documented(
    made: Calendar, lists: tuple[list[int], list[int], list[int]]
) -> None:
    """Lists that do not apply are sent empty, so that a changed type leaves nothing behind."""
    hours, weekdays, days = lists
    assert made.fields() == {
        "schedule_type": str(made.schedule_type),
        "schedule_hours": hours,
        "schedule_days_of_week": weekdays,
        "schedule_days_of_month": days,
    }
    assert calendar(made.fields()) == made


@pytest.mark.parametrize(
    ("kind", "hour", "days"),
    [
        ("daily", 24, ()),
        ("daily", -1, ()),
        ("daily", 0, (1,)),
        ("weekly", 0, ()),
        ("weekly", 0, (7,)),
        ("monthly", 0, ()),
        ("monthly", 0, (0,)),
        ("monthly", 0, (32,)),
    ],
)
def test_an_impossible_calendar_is_refused(kind: str, hour: int, days: tuple[int, ...]) -> None:
    """It would start never, or at times that are not documented."""
    with pytest.raises(ValueError, match=r"out of range|do not go"):
        Calendar(ScheduleType(kind), hour, days)


@pytest.mark.parametrize(
    "item",
    [
        {"schedule_type": "manual"},
        {"schedule_type": "minutes", "schedule_minutes": "every_hour"},
        {"schedule_type": "daily", "schedule_hours": [9, 17]},
        {"schedule_type": "daily"},
        {"schedule_type": "weekly", "schedule_hours": [9], "schedule_days_of_week": []},
        {"schedule_type": "weekly", "schedule_hours": [9], "schedule_days_of_week": [9]},
        {"schedule_type": "daily", "schedule_hours": "soon"},
        {"schedule_type": ["daily"], "schedule_hours": {}},
        {},
    ],
)
def test_another_calendar_is_none_of_ours(item: dict[str, Any]) -> None:
    """It differs from every calendar that serpline writes, so it is written again."""
    assert calendar(item) is None


def test_numbers_may_be_text() -> None:
    """The vendor's examples send comma-separated text; order and repeats do not matter."""
    item = {
        "schedule_type": "weekly",
        "schedule_days_of_week": "4, 1,4",
        "schedule_hours": "8",
    }
    assert calendar(item) == WEEKLY


def test_create_scheduled_batch() -> None:
    """It is created disabled, so it cannot start before it is filled; its webhook is a secret."""
    call = client.create_scheduled_batch("s", "news", WEEKLY, notification_webhook=HOOK)
    assert (call.request.method, call.request.url) == ("POST", "https://api.scaleserp.com/batches")
    assert call.request.json == {
        "name": "s",
        "searches_type": "news",
        "notification_as_json": True,
        "enabled": False,
        "priority": "normal",
        **WEEKLY.fields(),
        "notification_webhook": HOOK,
    }
    assert call.request.secrets == (KEY, HOOK)
    assert HOOK not in json.dumps(call.identity)
    assert call.credits == 0


def test_set_schedule() -> None:
    """One update sets calendar, priority and webhook, and whether the batch starts."""
    call = client.set_schedule("B/1", WEEKLY, enabled=True, notification_webhook=HOOK)
    assert call.request.method == "PUT"
    assert call.request.url == "https://api.scaleserp.com/batches/B%2F1"
    assert call.request.json["enabled"] is True
    assert HOOK not in json.dumps(call.identity)
    assert call.identity != client.set_schedule("B/1", WEEKLY, enabled=False).identity
    with pytest.raises(ValueError, match="urgent"):
        client.set_schedule("B", WEEKLY, enabled=True, priority="urgent")  # type: ignore[arg-type]


def test_a_list_without_its_batches_is_an_error() -> None:
    """Read as "no batches", it would make all of them a second time."""
    call = client.list_batches("serpline", 1)
    with pytest.raises(ProviderError) as caught:
        call.parse(HttpReply(200, {}, b'{"request_info": {"success": true}}'))
    assert caught.value.category is ErrorCategory.MALFORMED


async def test_the_life_of_a_scheduled_batch() -> None:
    """The simulator accepts every call: create, fill, enable, find, clear, disable, delete."""
    async with Simulator(SimulatorConfig(seed=3)) as sim, httpx2.AsyncClient() as http:
        key = sim.config.key("scaleserp")
        ours = ScaleSerpClient(f"{sim.url}/scaleserp", key, SystemClock())

        async def make(call: ProviderCall[Any]) -> Any:
            asked: HttpRequest = call.request
            reply = await http.request(
                asked.method, asked.url, params=dict(asked.params), json=asked.json
            )
            return call.parse(HttpReply(reply.status_code, {}, reply.content))

        made = await make(ours.create_scheduled_batch("serpline a", "web", WEEKLY))
        assert (made.enabled, made.calendar, made.last_run) == (False, WEEKLY, None)
        await make(ours.create_batch("other", "web"))
        await make(ours.add_searches(made.id, [BatchSearch("1", SearchSpec("tea"))]))
        daily = Calendar(ScheduleType.DAILY, 5)
        changed = await make(ours.set_schedule(made.id, daily, enabled=True))
        assert (changed.enabled, changed.calendar) == (True, daily)
        page = await make(ours.list_batches("serpline", 1))
        assert [(b.id, b.searches_total_count) for b in page.batches] == [(made.id, 1)]
        assert (page.page, page.page_count) == (1, 1)
        await make(ours.clear_searches(made.id))
        assert (await make(ours.get_batch(made.id))).searches_total_count == 0
        assert not (await make(ours.set_schedule(made.id, daily, enabled=False))).enabled
        await make(ours.delete_batch(made.id))
        assert (await make(ours.list_batches("serpline", 1))).batches == ()
        with pytest.raises(ProviderError) as caught:
            await make(ours.resend_webhook(made.id, 1))
        assert caught.value.http_status == 404
        assert sim.gateway.crashes == []
