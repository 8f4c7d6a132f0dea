"""A run that collected less than planned shows so with all its figures."""

import asyncio
import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

from harness.commands import run_command
from harness.world import open_world

WORDS = ("best espresso machine", "coffee grinder", "moka pot", "decaf beans", "milk frother")
KEYWORDS = "\n".join(["keyword,market", *(f"{word},US" for word in WORDS)]).encode()
DEVICES = ("desktop", "mobile")
# Two of ten desktop searches for organic results fail, and all for mobile news.
FAILED = {"provider": "scaleserp", "operation": "batch_search", "fault": "failed_searches"}
RULES = (
    FAILED | {"match": {"search_type": "web", "device": "desktop", "q": ["moka*", "decaf*"]}},
    FAILED | {"match": {"search_type": "news", "device": "mobile"}},
)
COLLECTED = {
    ("organic", "desktop"): 3,
    ("organic", "mobile"): 5,
    ("news", "desktop"): 5,
    ("news", "mobile"): 0,
}
WHY = "organic: 8 of 10 searches collected; news: 5 of 10 searches collected"


def test_planned_stands_beside_collected(database_url: str, tmp_path: Path) -> None:
    """It does in the run's status and first line, in figures, exports and rankings.

    A device without results has a row for each planned keyword.
    """
    whole, enough = asyncio.run(_walk(database_url, tmp_path))
    report = json.loads(_ask(database_url, "run", "show", whole, "--json"))
    assert (report["status"], report["error"]) == ("completed_with_errors", WHY)
    found = {(r["content_type"], r["device"]): r for r in report["collection"]}
    assert {key: row["collected"] for key, row in found.items()} == COLLECTED
    assert {row["planned"] for row in found.values()} == {len(WORDS)}
    assert found["news", "mobile"]["collected_on"] is None
    assert "13 of 20 searches collected" in _first_line(database_url, "run", "show", whole)

    shown = json.loads(_ask(database_url, "dsi", "show", "--run", whole, "--json"))
    table = _ask(database_url, "dsi", "export", "--run", whole)
    exported = list(csv.DictReader(io.StringIO(table)))
    assert len(exported) == len(shown) > 20
    for row in [*report["dsi"], *shown, *exported]:
        if row["content_type"] != "all":
            assert int(row["keywords_planned"]) == len(WORDS)
            assert int(row["keywords_collected"]) == COLLECTED[row["content_type"], row["device"]]
    table = _ask(database_url, "dsi", "show", "--run", whole, "--content-type", "organic")
    assert "3 of 5" in table
    assert "5 of 5" in table

    ranked = json.loads(_ask(database_url, "rankings", "--run", whole, "--json", "--limit", "5000"))
    named = {(r["content_type"], r["device"], r["state"], r["keyword"]) for r in ranked}
    expected: Counter[tuple[str, str, str]] = Counter()
    for (kind, device), number in COLLECTED.items():
        expected[kind, device, "ranked"] = number
        expected[kind, device, "not collected"] = len(WORDS) - number
    assert Counter(row[:3] for row in named) == +expected

    report = json.loads(_ask(database_url, "run", "show", enough, "--json"))
    assert (report["status"], report["error"]) == ("completed", None)
    assert "13 of 20 searches collected" in _first_line(database_url, "run", "show", enough)


async def _walk(database_url: str, directory: Path) -> tuple[str, str]:
    """Two runs lack the same searches; the second allows for it."""
    async with open_world(database_url, directory, KEYWORDS) as world:
        world.sim.set_faults(RULES)
        await world.start_worker()
        given: dict[str, Any] = {
            "content_types": ("organic", "news"),
            "devices": DEVICES,
            "retry_attempts": 1,
            "analysis_depth": 1,
        }
        whole = await world.run(**given)
        return str(whole), str(await world.run(**given, min_collected_ratio=0.5))


def _ask(database_url: str, *arguments: str) -> str:
    """The output of a command on a wide terminal."""
    done = run_command(*arguments, SERPLINE_DATABASE_URL=database_url, COLUMNS="250")
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def _first_line(database_url: str, *arguments: str) -> str:
    return _ask(database_url, *arguments).strip().splitlines()[0]
