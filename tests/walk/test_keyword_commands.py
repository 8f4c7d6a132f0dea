"""Keywords and landscapes by command: imported, tried, listed, tagged and removed."""

import asyncio
import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from harness.commands import run_command
from sqlalchemy import text

from serpline.store import keyword_sets
from serpline.store.database import Database

FILES = Path(__file__).parents[1] / "data" / "keywords"
SPEC = """{"content_type": "news", "frequency": "daily", "time_of_day": "09:00",
"landscape": "coffee"}"""


class Commands:
    """Commands on one database."""

    def __init__(self, database_url: str) -> None:
        self.settings = {"SERPLINE_DATABASE_URL": database_url, "COLUMNS": "200"}

    def text(self, *arguments: str, stdin: bytes | None = None) -> str:
        """What a command that succeeds prints to stdout."""
        done = run_command(*arguments, stdin=stdin, **self.settings)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def read(self, *arguments: str, stdin: bytes | None = None) -> Any:
        """The JSON document of a command that succeeds."""
        return json.loads(self.text(*arguments, "--json", stdin=stdin))

    def refused(self, *arguments: str) -> str:
        """The one line of a command that is refused. Nobody can be asked: stdin is no terminal."""
        done = run_command(*arguments, stdin=b"", **self.settings)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done.stderr
        return done.stderr.decode().removeprefix("serpline: ").strip()

    def pairs(self, *arguments: str) -> list[tuple[str, str, list[str]]]:
        """The listed pairs with their tags."""
        found = self.read("keywords", "list", *arguments)
        return [(row["keyword"], row["market"], row["tags"]) for row in found]


@pytest.fixture
def commands(database_url: str) -> Commands:
    return Commands(database_url)


def test_a_dry_run_tells_what_an_import_would_do(commands: Commands) -> None:
    """The table names encoding, columns, refused lines; new and known are counted; nothing is
    imported."""
    file = str(FILES / "hand_made.xlsx")
    told = commands.text("keywords", "import", file, "--dry-run")
    for words in ("XLSX", "Keywords", "line 3, lines above it skipped: 1", "'Mot-clé'", "'Volume'"):
        assert words in told
    assert "unknown market 'Frankenland'" in told
    assert "nothing was imported" in told
    assert commands.pairs() == []
    commands.text("keywords", "import", file, "--skip-bad-lines")
    again = commands.read("keywords", "import", file, "--dry-run", "--market", "UK")
    assert (again["new"], again["known"], again["problem_count"]) == (0, 3, 2)
    assert again["markets"]["FR"] == {"new": 0, "known": 2}
    assert again["layout"]["ignored"] == ["Volume"]


def test_refused_lines_are_mended_and_imported(commands: Commands, tmp_path: Path) -> None:
    """``--refused`` imports the valid lines and writes the others with their reasons."""
    refused = tmp_path / "refused.csv"
    file = str(FILES / "hand_made.xlsx")
    done = commands.read("keywords", "import", file, "--refused", str(refused))
    assert (done["new"], done["problem_count"], done["refused"]) == (3, 2, str(refused))
    with refused.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["line"], row["market"]) for row in rows] == [("8", "US"), ("9", "Frankenland")]
    assert rows[1]["reason"] == "unknown market 'Frankenland': give a code such as US, GB or DE"
    mended = refused.read_text("utf-8-sig").replace("2026-07-11 00:00:00", "7-11")
    again = tmp_path / "mended.csv"
    again.write_text(mended.replace(",Frankenland,", ",France,"), encoding="utf-8")
    assert commands.read("keywords", "import", str(again))["new"] == 2
    assert {("7-11", "US"), ("café filtre", "FR")} <= {pair[:2] for pair in commands.pairs()}
    assert "exists already" in commands.refused("keywords", "import", file, "--refused", str(again))


def test_a_list_from_stdin_gets_the_given_markets(commands: Commands) -> None:
    """Each line is imported for each market; without one the line says how to give it."""
    given = b"moka pot\nred, blue or green kettle\n"
    done = commands.read(
        "keywords", "import", "-", "--market", "Deutschland", "--market", "en-GB", stdin=given
    )
    assert (done["new"], done["layout"]["format"]) == (4, "list")
    assert [pair[1] for pair in commands.pairs("--match", "moka*")] == ["DE", "GB"]
    refused = run_command("keywords", "import", "-", stdin=given, **commands.settings)
    assert refused.returncode == 2
    assert b"stdin: a plain list: no column of markets: give the market of" in refused.stderr


def test_keywords_are_chosen_tagged_and_removed(commands: Commands, tmp_path: Path) -> None:
    """By market, tag, pattern and file; tags ignore case; a removal is counted before."""
    commands.text("keywords", "import", str(FILES / "semrush_keyword_strategy.csv"))
    assert commands.pairs("--tag", "COFFEE") == [
        ("moka pot", "AU", ["coffee"]),
        ("moka pot", "US", ["coffee", "home"]),
    ]
    tagged = commands.read("keywords", "tag", "Coffee", "hot", "--match", "*P?T*")
    assert tagged == {"pairs": 2, "keywords": 1, "changed": 2}
    assert commands.pairs("--market", "Australia") == [("moka pot", "AU", ["coffee", "hot"])]
    assert commands.read("keywords", "untag", "HOT", "--market", "AU", "--yes") == {"changed": 1}
    some = tmp_path / "some.txt"
    some.write_text("Stovetop  ESPRESSO\n")
    assert [pair[1] for pair in commands.pairs("--file", str(some))] == ["GB"]
    some.write_text("keyword,market\nMoka Pot,au\nstovetop espresso,\n")
    assert [pair[1] for pair in commands.pairs("--file", str(some))] == ["AU", "GB"]
    asked = commands.refused("keywords", "remove", "--tag", "coffee")
    assert asked.startswith("Remove 2 keyword × market pairs of 1 keywords? To do it without")
    assert commands.read("keywords", "remove", "--tag", "coffee", "--yes") == {"pairs": 2}
    assert [pair[:2] for pair in commands.pairs()] == [("stovetop espresso", "GB")]


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 1, 3), ("y", 0, 1)])
def test_a_person_is_asked_before_a_removal(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: int
) -> None:
    """On a terminal, with the count. Without a yes nothing changes."""
    commands.text("keywords", "import", str(FILES / "ahrefs_keywords_explorer.csv"))
    keyboard, terminal = os.openpty()
    os.write(keyboard, f"{answer}\n".encode())
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        done = run_command("keywords", "remove", "--match", "moka*", **commands.settings)
        monkeypatch.undo()
    os.close(keyboard)
    assert done.returncode == code
    assert b"Remove 2 keyword \xc3\x97 market pairs of 1 keywords? [y/N]" in done.stderr
    assert len(commands.pairs()) == left


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["keywords", "remove", "--yes"], "choose keywords with --market, --tag, --landscape"),
        (["keywords", "remove", "--all", "--market", "US"], "--all: give a filter or --all"),
        (["keywords", "list", "--market", "Germny"], "did you mean DE (Germany)?"),
        (["keywords", "list", "--landscape", "none"], "landscape='none': there is no such"),
        (["keywords", "list", "--match", "\u200b"], "--match"),
        (["keywords", "tag", ",", "--all"], "give at least one tag"),
        (["keywords", "tag", *map(str, range(21)), "--all"], "21 tags, over 20"),
        (["landscapes", "show", "none"], "landscape='none': there is no such"),
        (["landscapes", "add", "new", "--market", "US"], "no keyword fits"),
    ],
)
def test_a_wrong_choice_is_one_line(commands: Commands, arguments: list[str], words: str) -> None:
    """It names the value and what is allowed."""
    assert words in commands.refused(*arguments)


def test_removing_keywords_changes_no_run(commands: Commands) -> None:
    """A run has its own copy; a keyword imported again has its old id, so its history goes on."""
    given = b"keyword,market\nmoka pot,US\nmoka pot,GB\n"
    commands.text("keywords", "import", "-", "--landscape", "coffee", stdin=given)
    before = commands.read("keywords", "list")
    run_command("run", "start", "--json", **commands.settings)
    assert commands.read("keywords", "remove", "--all", "--yes") == {"pairs": 2}
    assert commands.read("landscapes", "list")[0]["keywords"] == 0

    async def copied() -> set[tuple[int, str, str]]:
        database = await Database.connect(commands.settings["SERPLINE_DATABASE_URL"])
        async with database.transaction() as conn:
            rows = await conn.execute(text("SELECT keyword_id, market, keyword FROM run_keywords"))
            found = {(row.keyword_id, row.market, row.keyword) for row in rows}
        await database.close()
        return found

    assert asyncio.run(copied()) == {(row["id"], row["market"], "moka pot") for row in before}
    commands.text("keywords", "import", "-", stdin=given)
    assert commands.read("keywords", "list") == before


def test_landscapes_are_made_shown_and_removed(commands: Commands, tmp_path: Path) -> None:
    """By the same filters; one that a schedule uses is not removed; keywords stay."""
    commands.text("keywords", "import", str(FILES / "ahrefs_keywords_explorer.csv"))
    added = commands.read("landscapes", "add", "coffee", "--match", "*pot", "--match", "caf*")
    assert added == {"name": "coffee", "keywords": 2, "added": 2}
    shown = commands.read("landscapes", "show", "coffee")
    assert (shown["keywords"], shown["pairs"], len(shown["keyword_markets"])) == (2, 3, 3)
    removed = commands.read("landscapes", "remove", "coffee", "--market", "France", "--yes")
    assert removed == {"name": "coffee", "keywords": 1, "is_removed": False}
    spec = tmp_path / "spec.json"
    spec.write_text(SPEC)
    commands.text("schedule", "add", "daily", str(spec))
    assert commands.read("landscapes", "list")[0]["schedules"] == ["daily"]
    used = commands.refused("landscapes", "remove", "coffee", "--yes")
    assert used.startswith("landscape 'coffee' is used by 'daily': change or delete")

    async def is_removed() -> bool:
        database = await Database.connect(commands.settings["SERPLINE_DATABASE_URL"])
        async with database.transaction() as conn:
            found = await keyword_sets.remove_landscape(conn, "coffee")
        await database.close()
        return found

    # As if the schedule had come while a person was asked.
    assert not asyncio.run(is_removed())
    commands.text("schedule", "delete", "daily")
    assert commands.read("landscapes", "remove", "coffee", "--yes")["is_removed"]
    assert commands.read("landscapes", "list") == []
    assert len(commands.pairs()) == 3
