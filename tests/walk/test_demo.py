"""``serpline demo`` as users and scripts run it, and the read commands on its results.

One demo of two keywords serves all tests. It is a process of its own, in which only the providers
are simulated.
"""

import io
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from harness.commands import run_command
from harness.environment import clean_environment

from serpline import recompute_dsi
from serpline.domain.names import PhaseName
from serpline.store.embedded.server import ensure_server, find_server

# One process makes the run that all these tests read.
pytestmark = pytest.mark.xdist_group("demo")

TYPES = ("organic", "news", "video")
KEYWORDS = "keyword,market,tags\n吕梁市 三川河,US,rivers\nWisła rzeka,GB,rivers\nthird,US,\n"


def command(*arguments: str) -> list[str]:
    """A command line, for a clean environment."""
    return [sys.executable, "-m", "serpline.cli", *arguments]


@dataclass(frozen=True, slots=True)
class Shown:
    """A finished demo: its directory, document and stderr."""

    directory: Path
    document: dict[str, Any]
    stderr: str

    def run_command(self, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        """Run a command on the demo's database."""
        return run_command("--data-dir", str(self.directory), *map(str, arguments))

    def json(self, *arguments: str) -> Any:
        """Run a command and return its JSON document."""
        done = self.run_command(*arguments)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A demo of two of three keywords; its embedded server is stopped at the end."""
    directory = tmp_path_factory.mktemp("demo")
    file = directory / "keywords.csv"
    file.write_text(KEYWORDS, encoding="utf-8")
    arguments = ["demo", "--keywords", str(file), "--limit", "2", "--seed", "5", "--json"]
    done = subprocess.run(
        command("--data-dir", str(directory), *arguments),
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert find_server(directory / "postgres") is None
    server = ensure_server(directory / "postgres")
    yield Shown(directory, json.loads(done.stdout), done.stderr)
    server.stop()


def test_the_document_has_a_stable_shape(shown: Shown) -> None:
    """Seven phases with lanes, scores, credits, calls and seconds; stderr is empty."""
    found = shown.document
    assert found["status"] == "completed"
    assert found["mode"] == "manual"
    assert found["seconds"] > 0
    assert len(found["phases"]) == 7
    for name, phase in found["phases"].items():
        assert phase["status"] == "completed", name
        assert phase["error"] is None
        for lane in phase["content_types"].values():
            done = lane["completed"] + lane["failed"] + lane["skipped"]
            assert (lane["status"], done) == ("completed", lane["planned"])
    searches = found["phases"]["serp_collection"]["content_types"]
    assert {kind: lane["completed"] for kind, lane in searches.items()} == dict.fromkeys(TYPES, 2)
    assert set(found["phases"]["keyword_metrics"]["content_types"]) == {"all"}
    assert set(found["phases"]["dsi_calculation"]["content_types"]) == {*TYPES, "all"}
    wanted = {"company", "domain", "content_type", "market", "dsi", "coverage"}
    assert found["dsi"]
    assert all(
        wanted | {"traffic_share", "relevance", "curve"} <= row.keys() for row in found["dsi"]
    )
    assert shown.stderr == ""


def test_calls_and_credits_are_those_of_the_simulators_own_log(shown: Shown) -> None:
    """The ledger and the simulator's log agree on every provider that is paid per call."""
    calls: Counter[str] = Counter()
    credits_: Counter[str] = Counter()
    log = Path(shown.document["call_log"])
    for line in log.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        calls[entry["provider"]] += 1
        credits_[entry["provider"]] += entry["credits"] or 0
    for provider in ("dataforseo", "pdl", "youtube", "llm", "wikidata"):
        assert shown.document["calls"][provider] == calls[provider], provider
    for provider in ("scaleserp", "pdl", "youtube", "llm"):
        assert shown.document["credits"][provider] == credits_[provider], provider
    assert shown.document["credits"]["scaleserp"] == 2 * len(TYPES)
    audit = shown.document["audit"]
    assert audit["agrees"], audit
    assert sum(audit["calls"].values()) == sum(shown.document["calls"].values())


def test_an_independent_script_computes_the_same_figures(shown: Shown, tmp_path: Path) -> None:
    """It computes every company's figures from the exported inputs, to one in the last digit."""
    again = shown.document["recomputed"]
    assert again["equal"] is True
    assert {figure["content_type"] for figure in again["figures"]} >= {"all"}
    file = tmp_path / "inputs.jsonl"
    assert shown.run_command("dsi", "inputs", "--output", str(file)).returncode == 0
    assert file.read_bytes() == Path(again["inputs"]).read_bytes()
    script = subprocess.run(
        [sys.executable, "-I", recompute_dsi.__file__, str(file)],
        stdout=subprocess.PIPE,
        check=True,
    )
    theirs = [json.loads(line) for line in script.stdout.splitlines()]
    compared = ("dsi", "traffic_share", "relevance", "keywords_ranked", "keywords_collected")
    recomputed = {
        (row["content_type"], row["market"], row["company"]): [row[name] for name in compared]
        for row in theirs
    }
    stored = {
        (row["content_type"], row["market"], row["domain"]): [row[name] for name in compared]
        for row in shown.document["dsi"]
    }
    assert len(stored) > 20
    assert recomputed.keys() == stored.keys()
    for key, values in recomputed.items():
        assert values == pytest.approx(stored[key], rel=1e-11, abs=0), key


def test_a_channel_without_an_owner_is_named_by_its_title(shown: Shown) -> None:
    """The address identifies the channel; the title is its display name."""
    channels = [row for row in shown.document["dsi"] if row["domain"].startswith("youtube.com/")]
    assert channels
    for row in channels:
        assert row["company"]
        assert not row["company"].startswith("youtube.com/")


def test_share_of_voice_has_its_three_denominators(shown: Shown) -> None:
    """The three shares follow from the exported inputs; the combined DSI has none."""
    rows = shown.json("sov", "--market", "US", "--json")
    assert {row["content_type"] for row in rows} == set(TYPES)
    best = next(row for row in rows if row["content_type"] == "organic")
    records = [
        record
        for line in Path(shown.document["recomputed"]["inputs"]).read_text().splitlines()
        if (record := json.loads(line))["content_type"] == "organic" and record["market"] == "US"
    ]
    (page,) = [record for record in records if record["record"] == "page"]
    (curve,) = [record["curve"] for record in records if record["record"] == "method"]
    # One keyword and no AI Overviews: the volume is in every figure and cancels.
    percents = {
        company: [
            curve["percents"][record["position"] - 1]
            for record in records
            if record["record"] == "result" and company in (record["company"], "")
        ]
        for company in (best["domain"], "")
    }
    own, everyone = percents[best["domain"]], percents[""]
    assert page["volume"] > 0
    assert best["share_of_results"] == pytest.approx(sum(own) / sum(everyone))
    assert best["share_of_first"] == pytest.approx(max(own) / curve["percents"][0])
    assert best["share_of_volume"] == pytest.approx(sum(own) / 100)
    table = shown.run_command("sov", "--limit", "1").stdout.decode()
    assert f"{best['share_of_results']:.4f}" in table
    refused = shown.run_command("sov", "--content-type", "all")
    assert (refused.returncode, refused.stdout) == (2, b"")


def test_run_show_prints_the_demos_document(shown: Shown) -> None:
    """The stored document is the same, read by id, by the id's beginning, or as the latest."""
    run_id = shown.document["run_id"]
    again = shown.json("run", "show", run_id, "--json")
    own = ("data_dir", "call_log", "audit", "recomputed", "demo_schedule")
    common = {k: v for k, v in shown.document.items() if k not in own}
    assert again == common
    assert shown.json("run", "show", run_id[:8], "--json")["run_id"] == run_id
    assert shown.json("run", "show", "--json")["run_id"] == run_id
    assert [row["id"] for row in shown.json("run", "list", "--json")] == [run_id]


def test_watch_on_an_ended_run_returns_at_once(shown: Shown) -> None:
    """``watch`` on an ended run returns its document and exit code at once."""
    assert shown.json("run", "watch", "--json")["status"] == "completed"


def test_rankings_answer_for_one_keyword_in_any_script(shown: Shown) -> None:
    """A keyword is found in any case; an unknown one is an error that names it."""
    rows = shown.json("rankings", "--keyword", "wisła  RZEKA", "--json")
    assert {(row["keyword"], row["market"]) for row in rows} == {("Wisła rzeka", "GB")}
    assert {row["content_type"] for row in rows} == set(TYPES)
    assert min(row["position"] for row in rows) == 1
    done = shown.run_command("rankings", "--keyword", "third")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"'third'" in done.stderr


def test_every_export_has_every_figure(shown: Shown, tmp_path: Path) -> None:
    """CSV, JSON and Parquet have the same rows; unknown values stay unknown in each."""
    figures = shown.json("dsi", "export", "--format", "json")
    assert len(figures) == len(shown.document["dsi"])
    csv = pl.read_csv(io.BytesIO(shown.run_command("export", "dsi").stdout))
    file = tmp_path / "figures.parquet"
    written = shown.run_command("dsi", "export", "--output", file)
    assert f"{len(figures):,} rows of dsi, run " in written.stderr.decode()
    for frame in (csv, pl.read_parquet(file)):
        assert frame["company"].to_list() == [row["company"] for row in figures]
        assert frame["dsi"].to_list() == pytest.approx([row["dsi"] for row in figures])
        assert frame["traffic_share"].null_count() == sum(
            row["traffic_share"] is None for row in figures
        )
    one = shown.json("dsi", "show", "--content-type", "news", "--market", "gb", "--json")
    assert {(row["content_type"], row["market"]) for row in one} == {("news", "GB")}


def test_what_an_export_refuses(shown: Shown, tmp_path: Path) -> None:
    """A file that exists, an unknown table, a name or an option that does not fit: one line."""
    file = tmp_path / "spend.xlsx"
    assert shown.run_command("export", "spend", "-o", file).returncode == 0
    for arguments, message in (
        (["spend", "-o", file], "exists already; --overwrite replaces it"),
        (["spend", "-o", tmp_path / "spend.txt"], "must end with one of .csv, .xlsx"),
        (["prices"], "table 'prices': must be one of rankings, serps, dsi"),
        (["keywords", "--device", "mobile"], "keywords cannot be filtered by devices"),
        (["spend", "--decimal-comma", "--format", "json"], "--decimal-comma is for csv"),
    ):
        done = shown.run_command("export", *arguments)
        assert (done.returncode, done.stdout) == (2, b"")
        assert message in done.stderr.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["spend.xlsx"]
    assert shown.run_command("export", "spend", "-o", "/dev/null", "--format", "csv").stdout == b""


def test_a_dry_run_is_exact_for_searches_and_uses_the_latest_runs_ratios(shown: Shown) -> None:
    """Searches are pairs × devices × types; the rest names its source run. No run is started."""
    options = ("--devices", "desktop,mobile", "--content-types", "organic,news", "--json")
    found = shown.json("run", "start", "--dry-run", *options)
    assert (found["pairs"], found["searches"]) == (3, 12)
    assert found["providers"]["scaleserp"]["credits"] == 12
    assert found["providers"]["scaleserp"]["basis"] == "exact"
    assert found["providers"]["dataforseo"]["usd"] == pytest.approx(0.18)
    llm = found["providers"]["llm"]
    assert shown.document["run_id"] in llm["basis"]
    assert llm["credits"] > 0
    assert found["providers"]["wikidata"]["usd"] == 0
    assert len(shown.json("run", "list", "--json")) == 1


def test_read_commands_print_documents(shown: Shown) -> None:
    """Every read command prints one JSON document."""
    assert len(shown.json("markets", "list", "--json")) == 250
    assert len(shown.json("keywords", "list", "--json")) == 3
    assert shown.json("companies", "list", "--json")
    assert shown.json("jobs", "list", "--json") == []
    assert {row["state"] for row in shown.json("breakers", "list", "--json")} == {"closed"}
    checks = shown.json("doctor", "--json")
    assert checks["ok"]
    assert {check["name"] for check in checks["checks"]} >= {"python", "database", "webhooks"}
    assert [row["phase"] for row in checks["phases"]] == list(PhaseName)
    lacking = {row["phase"] for row in checks["phases"] if row["lack"]}
    # This terminal has no key. Wikidata needs none.
    assert lacking == {
        "keyword_metrics", "serp_collection", "youtube_enrichment", "content_analysis",
    }  # fmt: skip


def test_a_mark_is_shown_with_the_figures(shown: Shown) -> None:
    """Any URL marks its company, and the mark is shown with its DSI."""
    domain = next(r["domain"] for r in shown.document["dsi"] if "/" not in r["domain"])
    url = f"https://www.{domain}/about"
    assert shown.run_command("companies", "mark", url, "--as", "ours").returncode == 0
    rows = shown.json("dsi", "show", "--json")
    assert {row["relation"] for row in rows if row["domain"] == domain} == {"ours"}
    assert shown.run_command("companies", "mark", url, "--as", "none").returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_leaves_nothing_running(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    """Ctrl-C and SIGTERM stop the workers and the embedded server."""
    with subprocess.Popen(
        command("--data-dir", str(tmp_path), "demo"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as process:
        try:
            assert process.stderr is not None
            # Printed once the workers have collected something.
            assert any("serp_collection" in line for line in process.stderr)
            workers = _children(process.pid)
            process.send_signal(number)
            stderr = process.stderr.read()
            assert process.wait(60) == code, stderr
        finally:
            process.kill()
    assert len(workers) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert find_server(tmp_path / "postgres") is None
    assert "Traceback" not in stderr


def _children(pid: int) -> list[int]:
    """The pids of a demo's workers, from ``ps``."""
    done = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 2) for line in done.stdout.splitlines()]
    return [int(own) for own, parent, args in rows if int(parent) == pid and " worker" in args]


def test_a_file_with_a_bad_line_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """One line and exit code 2; no directory is created and no server started."""
    file = tmp_path / "keywords.csv"
    file.write_text("keyword,market\nfoo,ZZ\n")
    home = tmp_path / "home"
    done = subprocess.run(
        command("demo", "--keywords", str(file)),
        capture_output=True,
        text=True,
        env={**clean_environment(), "SERPLINE_DATA_DIR": str(home)},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"serpline: {file}: line 2: unknown market 'ZZ': " + (
        "give a code such as US, GB or DE\n"
    )
    assert not home.exists()


def test_simulated_results_never_enter_a_real_project(database_url: str, tmp_path: Path) -> None:
    """A database with keywords is refused by its setting's name, and stays unchanged."""
    file = tmp_path / "keywords.csv"
    file.write_text("keyword,market\nmine,US\n")

    def process(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        place = ["--data-dir", str(tmp_path)]
        return run_command(*place, *arguments, SERPLINE_DATABASE_URL=database_url)

    assert process("keywords", "import", str(file)).returncode == 0
    done = process("demo")
    assert done.returncode == 2
    assert b"SERPLINE_DATABASE_URL" in done.stderr.splitlines()[-1]
    listed = json.loads(process("keywords", "list", "--json").stdout)
    assert [row["keyword"] for row in listed] == ["mine"]


def test_it_ends_with_a_schedule(shown: Shown) -> None:
    """Three next times, and a month of all three keywords: 6 searches a day, 3 more a week."""
    schedule = shown.document["demo_schedule"]
    assert len(schedule["next_times"]) == 3
    cost = schedule["cost_per_month"]
    assert cost["error"] is None
    assert cost["searches"] == pytest.approx(6 * 365 / 12 + 3 * 52 / 12, abs=1)
    assert cost["providers"]["scaleserp"]["credits"] == pytest.approx(cost["searches"], abs=1)
    (row,) = shown.json("schedule", "list", "--json")
    assert (row["id"], row["status"], row["next_at"]) == ("demo", "paused", None)
    assert shown.json("schedule", "show", "demo", "--json")["cost_per_month"] == cost
