"""Language-model servers of many vendors give the same analyses."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from harness.guarded import owned_chunk, rows
from harness.phase_work import owned, work_on

from serpline.app.tools import open_tools
from serpline.core.clock import SystemClock
from serpline.core.settings import load
from serpline.domain.errors import CallRefused, ErrorCategory, ProviderError
from serpline.domain.names import ContentType, PhaseName
from serpline.domain.phases import LaneKey
from serpline.phases.model_calls import RECHECK_HOURS, ModelCalls
from serpline.phases.tools import Tools
from serpline.providers.llm.client import LlmClient
from serpline.simulator.config import SimulatorConfig
from serpline.simulator.llm_dialects import DIALECTS
from serpline.simulator.server import Simulator
from serpline.store.database import Database

TEXTS = (
    ("Tides", "The tide rises. Tide times are excellent to know. Acme helps.", "tide times"),
    ("Kettles", "This kettle is disappointing. The kettle is slow and poor.", "kettle"),
    ("Shoes", "Nothing here is about the sea at all, only about shoes.", "tide"),
)
# Refused or useless requests before the first answer.
IN_VAIN = {
    "openai": 0, "openai-reasoning": 3, "azure": 1, "mistral": 0, "deepseek": 1, "gemini": 3,
    "groq": 1, "ollama": 1, "vllm": 0, "llama.cpp": 1, "cloudflare": 0, "openrouter": 0,
    "perplexity": 0,
}  # fmt: skip


class Place:
    """A simulated model server, the tools that call it, and the calling chunks."""

    def __init__(self, sim: Simulator, tools: Tools, db: Database) -> None:
        self.sim = sim
        self.tools = tools
        self.db = db
        self.clock = ShiftedClock()

    async def model(self, dialect: str, name: str = "m") -> ModelCalls:
        """The model as a new chunk of a new run calls it, at a server of that dialect."""
        self.sim.llm.dialect = DIALECTS[dialect]
        base = self.sim.environment()["SERPLINE_LLM_BASE_URL"]
        client = LlmClient(base, self.sim.config.key("llm"), name, SystemClock())
        run_id, chunk_id, epoch = await owned_chunk(self.db)
        lane = LaneKey(PhaseName.CONTENT_ANALYSIS, ContentType.ORGANIC)
        chunk = owned(run_id, lane, id=chunk_id, epoch=epoch, created_at=self.clock.now())
        work = work_on(chunk, self.db, self.clock)
        return ModelCalls(self.tools, work, client)

    def calls(self) -> int:
        """The number of requests the server has had."""
        return len(self.sim.log.of("llm", "chat"))


class ShiftedClock(SystemClock):
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.hours = 0

    def now(self) -> datetime:
        return super().now() + timedelta(hours=self.hours)


@pytest.fixture
async def place(db: Database) -> AsyncIterator[Place]:
    async with Simulator(SimulatorConfig(seed=3)) as sim:
        rates = {"llm": 1_000.0}
        settings = load(llm_base_url=sim.url, provider_rates=rates)
        async with open_tools(settings, db, SystemClock()) as tools:
            yield Place(sim, tools, db)


async def analyses(model: ModelCalls) -> list[dict[str, Any]]:
    """The model's analyses of three texts, without what the server states about itself."""
    asked = [
        model.buy(
            "analysis",
            lambda analysis: {"u": asdict(analysis)},
            lambda llm, t=title, x=text, k=keyword: llm.analyse_page("u", t, x, [k], "en"),
        )
        for title, text, keyword in TEXTS
    ]
    found = [bought["u"] for bought in await asyncio.gather(*asked)]
    unequal = ("model", "prompt_tokens", "completion_tokens", "cached_tokens")
    return [{key: told[key] for key in told if key not in unequal} for told in found]


async def test_same_analyses(place: Place) -> None:
    """Every dialect gives the same analyses as OpenAI's; the first call negotiates it."""
    expected = await analyses(await place.model("openai"))
    assert len({analysis["summary"] for analysis in expected}) == len(TEXTS)
    for dialect in DIALECTS:
        before = place.calls()
        name = f"model of {dialect}"
        assert await analyses(await place.model(dialect, name)) == expected, dialect
        assert place.calls() - before == len(TEXTS) + IN_VAIN[dialect], dialect
        # Another chunk, of this worker or another, reuses it.
        again = place.calls()
        assert await analyses(await place.model(dialect, name)) == expected, dialect
        assert place.calls() - again == len(TEXTS), dialect
    breaker = (await rows(place.db, "SELECT * FROM circuit_breakers WHERE name = 'llm_api'"))[0]
    assert (breaker.state, breaker.failure_count) == ("closed", 0)


async def test_a_dialect_expires(place: Place) -> None:
    """After a day the dialect is negotiated again, so an updated server is noticed."""
    await analyses(await place.model("deepseek"))
    place.sim.llm.dialect = DIALECTS["openai"]
    before = place.calls()
    model = await place.model("openai")
    await analyses(model)
    assert await forms(place) == ["json_object"]
    place.clock.hours = RECHECK_HOURS + 1
    await analyses(await place.model("openai"))
    assert await forms(place) == ["json_schema"]
    assert place.calls() - before == 2 * len(TEXTS)


async def test_a_server_that_changes_its_dialect(place: Place) -> None:
    """A refused known dialect is replaced at once, and the new one is stored."""
    model = await place.model("openai")
    await analyses(model)
    place.sim.llm.dialect = replace(
        DIALECTS["openai"], response_formats=DIALECTS["deepseek"].response_formats
    )
    before = place.calls()
    await ask_one(model, "another text about tides")
    assert place.calls() - before == 2
    assert await forms(place) == ["json_object"]


async def test_one_chunk_negotiates(place: Place) -> None:
    """While one chunk negotiates, the others wait without using an attempt."""
    first, second = await place.model("deepseek"), await place.model("deepseek")
    await first._load_dialect()
    with pytest.raises(CallRefused) as caught:
        await ask_one(second, "a text")
    assert caught.value.until is not None
    assert place.calls() == 0
    await ask_one(first, "a text")
    before = place.calls()
    await ask_one(second, "a text")
    assert place.calls() - before == 1


async def test_simultaneous_calls_negotiate_once(place: Place) -> None:
    """Many simultaneous calls of one chunk cost one refusal together."""
    model = await place.model("deepseek")
    await asyncio.gather(*(ask_one(model, f"text {n}") for n in range(8)))
    assert place.calls() == 9


async def test_slips_of_a_known_model(place: Place) -> None:
    """A known server's answer of another form is a failed attempt and changes no dialect."""
    model = await place.model("openai")
    await ask_one(model, "a text")
    ignoring = {"json_schema": "ignored", "json_object": "ignored"}
    place.sim.llm.dialect = replace(DIALECTS["openai"], response_formats=ignoring)
    before = place.calls()
    with pytest.raises(ProviderError) as caught:
        await ask_one(model, "another text")
    assert (caught.value.category, caught.value.permanent) == (ErrorCategory.UNUSABLE, False)
    assert place.calls() - before == 1
    assert await forms(place) == ["json_schema"]


async def ask_one(model: ModelCalls, text: str) -> None:
    await model.buy(
        "analysis",
        lambda analysis: {text: asdict(analysis)},
        lambda llm: llm.analyse_page("u", "t", f"This is {text}.", ["k"], "en"),
    )


async def forms(place: Place) -> list[str]:
    found = await rows(place.db, "SELECT payload FROM reference_data WHERE kind = 'llm_dialect'")
    return [row.payload["form"] for row in found]
