"""The command line as scripts use it: a real database, exit codes and documents."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from harness.commands import run_command
from harness.environment import clean_environment

UNKNOWN_RUN = "00000000-0000-0000-0000-000000000000"


def serpline(
    *arguments: str, database_url: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run one command in a clean environment."""
    if database_url:
        settings["SERPLINE_DATABASE_URL"] = database_url
    done = run_command(*arguments, **settings)
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line on stderr; the exit code is 2 and stdout is empty."""
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"keyword,market\n\xc3\xa9\xc3\xa8,US\ncaf\xe9,US\n", "line 3: the file is UTF-8 except"),
        (b"keyword,market\nfoo,ZZ\n", "unknown market 'ZZ'"),
        (b"", "empty"),
        (b"word,place\nfoo,US\n", "no column of keywords among 'word', 'place'"),
        (
            b"keyword,tags\nfoo,a\n",
            "no column of markets: give the market of all lines with --market",
        ),
    ],
)
def test_a_bad_keyword_file_is_one_line(
    database_url: str, tmp_path: Path, content: bytes, words: str
) -> None:
    """A file that cannot be imported gets one line with the cause, and exit code 2."""
    file = tmp_path / "keywords.csv"
    file.write_bytes(content)
    assert words in one_line(serpline("keywords", "import", str(file), database_url=database_url))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["keywords", "import", "nowhere.csv"], "nowhere.csv"),
        (["run", "show", UNKNOWN_RUN], UNKNOWN_RUN),
        (["run", "start"], "no keywords"),
        (["run", "start", "--mode", "sometimes"], "sometimes"),
        (["frobnicate"], "frobnicate"),
        (["jobs", "retry", str(2**63)], str(2**63)),
        (["jobs", "discard", "99999999999999999999"], "99999999999999999999"),
        (["jobs", "discard", str(2**63 - 1)], f"{2**63 - 1}: unknown"),
        (["breakers", "isolate", "\udcff"], r"'\udcff' is not UTF-8"),
        (["breakers", "reset", "\udcff"], r"'\udcff' is not UTF-8"),
        (["run", "start", "--landscape", "\udcff"], r"landscape='\udcff'"),
        (["run", "retry", "--phase", "dsi_calculation", "--item", "\udcff", "latest"], "--item"),
        (["rankings", "--keyword", "\udcff"], "--keyword"),
        (["keywords", "import", "nowhere.csv", "--landscape", "\udcff"], "--landscape"),
        (["markets", "add", "CH-FR", "--like", "CH", "--location", "\udcff"], "--location"),
        (
            ["markets", "add", "CH-FR", "--like", "CH", "--location-code", str(2**31)],
            "--location-code",
        ),
    ],
)
def test_a_wrong_argument_is_one_line(database_url: str, arguments: list[str], words: str) -> None:
    """A command with a wrong argument gets one line that names it."""
    assert words in one_line(serpline(*arguments, database_url=database_url))


def test_an_unreachable_database_is_one_line() -> None:
    """The line names the setting and hides the password; nothing else is printed."""
    settings = {"SERPLINE_DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/nothing"}
    line = one_line(
        subprocess.run(
            [sys.executable, "-m", "serpline.cli", "run", "list"],
            capture_output=True,
            text=True,
            env={**clean_environment(), **settings},
            timeout=60,
            check=False,
        )
    )
    assert "SERPLINE_DATABASE_URL" in line
    assert "hunter2" not in line


def test_keywords_in_any_script_are_imported_listed_and_planned(
    database_url: str, tmp_path: Path
) -> None:
    """Import, list and dry run agree; duplicates are counted, a too long keyword is reported."""
    file = tmp_path / "keywords.csv"
    rows = ["吕梁市 三川河,US,a;b", "Wisła rzeka,GB,", "wisła  RZEKA,GB,", f"{'x' * 201},US,"]
    file.write_text("\n".join(["keyword,market,tags", *rows]), encoding="utf-8")
    command = ("keywords", "import", str(file))
    assert "200" in one_line(serpline(*command, database_url=database_url))
    imported = serpline(*command, "--skip-bad-lines", database_url=database_url)
    assert imported.returncode == 0
    assert "200" in imported.stderr
    listed = serpline("keywords", "list", "--json", database_url=database_url)
    found = {(row["keyword"], row["market"]) for row in json.loads(listed.stdout)}
    assert found == {("吕梁市 三川河", "US"), ("Wisła rzeka", "GB")}
    dry = serpline("run", "start", "--dry-run", "--json", database_url=database_url)
    assert dry.returncode == 0, dry.stderr
    # Nothing is set up but Wikidata, which needs no key.
    skipped = json.loads(dry.stdout)["skipped"]
    assert skipped["serp_collection"].startswith("no key for ScaleSERP")
    assert skipped["keyword_metrics"].startswith("no key for DataForSEO")
    runs = serpline("run", "list", "--json", database_url=database_url)
    assert json.loads(runs.stdout) == []


def test_a_schedule_is_previewed_without_a_database(tmp_path: Path) -> None:
    """The preview shows UTC and local times without a database."""
    spec = tmp_path / "news.json"
    spec.write_text(
        json.dumps(
            {
                "content_type": "news",
                "frequency": "daily",
                "time_of_day": "09:00",
                "timezone": "Europe/Berlin",
            }
        )
    )
    done = serpline(
        "schedule", "preview", str(spec), "--count", "2", "--after", "2026-03-28T12:00", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert [row["scheduled_for"] for row in json.loads(done.stdout)] == [
        "2026-03-29T07:00:00+00:00",
        "2026-03-30T07:00:00+00:00",
    ]
