"""Recompute the demo's figures of one company by a script that shares no code with serpline."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from serpline import recompute_dsi

if TYPE_CHECKING:
    from serpline.store.database import Database

INPUTS = "dsi-inputs.jsonl"
SECONDS_MAX = 60.0
# Stored fractions have 12 significant digits. Halfway between two, either is correct.
_RELATIVE_MAX = 1e-11
_COMPARED = ("coverage", "traffic_share", "relevance", "dsi")


async def recompute_figures(
    database: "Database", run_id: UUID, figures: Sequence[Mapping[str, Any]], directory: Path
) -> dict[str, Any] | None:
    """Recompute: ``{"company", "domain", "inputs", "figures": [{…, "stored", "dsi"}], "equal"}``.

    For the company with the highest DSI; None if no company has one. The inputs stay in
    ``directory``.
    """
    from serpline.pipeline.dsi_inputs import write_lines

    known = [row for row in figures if row["dsi"] is not None]
    if not known:
        return None
    best = max(known, key=lambda row: (row["content_type"] == "all", row["dsi"]))
    file = directory / INPUTS
    with file.open("wb") as stream:
        async with database.transaction() as conn:
            await write_lines(conn, run_id, stream.write)
    recomputed = await _script(file, best["domain"])
    stored = {_key(row): row for row in figures if row["domain"] == best["domain"]}
    return {
        "company": best["company"],
        "domain": best["domain"],
        "inputs": file,
        "figures": [
            {**row, "stored": stored[_key(row)]["dsi"] if _key(row) in stored else None}
            for row in recomputed
        ],
        "equal": len(recomputed) == len(stored)
        and all(_key(row) in stored and _are_equal(row, stored[_key(row)]) for row in recomputed),
    }


def summary_line(found: Mapping[str, Any]) -> str:
    """Summarise the comparison in one line."""
    shown = max(found["figures"], key=lambda row: row["content_type"] == "all", default=None)
    if not found["equal"] or shown is None:
        return (
            f"The DSI of {found['domain']}, recomputed from {found['inputs']}, is NOT equal:"
            f" {json.dumps(found['figures'])}"
        )
    place = f"{shown['content_type']}, {shown['market']}, {shown['device']}"
    return (
        f"An independent script recomputed the {len(found['figures'])} figures of"
        f" {found['domain']} from the exported inputs: all equal ({place}: {shown['stored']}"
        f" stored, {shown['dsi']} recomputed)."
    )


async def _script(file: Path, company: str) -> list[dict[str, Any]]:
    """Run the script and return its rows. With ``-I`` it cannot import serpline."""
    command = (sys.executable, "-I", recompute_dsi.__file__, str(file), "--company", company)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
    return [json.loads(line) for line in printed.splitlines()]


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["content_type"], row["market"], row["device"]


def _are_equal(recomputed: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    pairs = [(recomputed[name], stored[name]) for name in _COMPARED]
    return all(
        a is b or (None not in (a, b) and abs(a - b) <= _RELATIVE_MAX * abs(b)) for a, b in pairs
    )
